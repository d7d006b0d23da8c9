"""Attacks that were thought up from the outside: each wins without the checks, and none with them."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

from pytest_kgate.validation.cheats import file
from pytest_kgate.validation.cheats.catalogue import FOLDER
from pytest_kgate.validation.cheats.outside import OUTSIDE

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "benchmarks" / "host" / "outside-attacks-2026-11-28.json"


def test_record_has_every_attack_win_without_the_checks_and_none_with_them():
    attempts = [one for one in file.load(RECORD)["attempts"] if one["cheat"] != "plain"]
    assert {one["cheat"] for one in attempts if one["unchecked"] == "PASS"} == {cheat.name for cheat in OUTSIDE}
    assert len(OUTSIDE) >= 20
    assert len({one["cheat"] for one in attempts if one["device"] == "host isolated"}) >= 10
    assert all(one["caught"] and one["verdict"] != "PASS" for one in attempts)


def test_page_shows_the_record():
    assert file.table(file.load(RECORD)).strip() in (ROOT / "docs" / "attacks.md").read_text()


def test_each_attack_has_a_file_that_says_what_it_does_and_each_file_is_listed():
    files = {f"outside/{path.name}" for path in (FOLDER / "outside").glob("*.py")} - {"outside/__init__.py"}
    assert files == {cheat.file for cheat in OUTSIDE}
    assert all(ast.get_docstring(ast.parse((FOLDER / name).read_text())) for name in files)


def test_attack_from_the_outside_runs_by_the_verb_with_and_without_the_checks(warm, tmp_path):
    path = tmp_path / "outside.json"
    command = [warm, "-m", "pytest_kgate.cli", "integrity", "--device", "host", "--outside"]
    run = subprocess.run(
        [*command, "--only", "shadows_builtin", "--json", str(path)], capture_output=True, text=True, check=False
    )
    (attempt,) = file.load(path)["attempts"]
    assert (attempt["verdict"], attempt["checks"]) == ("INVALID", ["originals"]), run.stderr
    assert "pytest_kgate.device.host.range" in attempt["reason"]
    assert attempt["unchecked"] in ("PASS", "INCONCLUSIVE")
    assert run.returncode == 0, run.stderr
