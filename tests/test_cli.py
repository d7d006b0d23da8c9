"""The table of the verbs of `kgate`: each has a module that makes its options, without importing what takes long."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from pytest_kgate import cli


@pytest.mark.parametrize("verb", cli._VERBS)
def test_each_verb_shows_its_options_in_the_terminals_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: kgate {verb}")
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    says = shown.split("\n\n")[1]
    assert says[0].isupper()
    assert says.endswith(".")


def test_misspelt_verb_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderbord", "search.jsonl"]) == 2
    assert capsys.readouterr().err == (
        "kgate: `kgate` has no verb 'leaderbord'. Did you mean 'leaderboard'?\n`kgate --help` lists them.\n"
    )


def test_all_verbs_options_are_cheap_to_import() -> None:
    modules = ", ".join(verb.module for verb in cli._VERBS.values())
    code = f"import sys, {modules}\nprint(*({{'torch', 'numpy', 'scipy', 'rich'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_verb_that_has_a_session_is_declared_to_have_one() -> None:
    having = {name for name, verb in cli._VERBS.items() if "OWN_OPTIONS" in vars(importlib.import_module(verb.module))}
    assert {name for name, verb in cli._VERBS.items() if verb.has_session} == having


@pytest.mark.parametrize("verb", [name for name, verb in cli._VERBS.items() if verb.has_session])
def test_verb_that_has_a_session_says_that_it_takes_options_of_pytest(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    assert "`pytest --help` has them all" in " ".join(capsys.readouterr().out.split())
