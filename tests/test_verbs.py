"""Every verb of `kgate`, and the command that a summary prints, run for real on the host with the shortest settings."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sample_records import session
from verb_files import write_files

import pytest_kgate.build.library
from pytest_kgate import cli
from pytest_kgate.bench.race.calibration.resolution import summary
from pytest_kgate.bench.race.speed_of_light import kept as rates_kept
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.build.compiler import cache
from pytest_kgate.device.host import HostDevice
from pytest_kgate.profile.nsight.command import command as profile
from pytest_kgate.profile.sanitizer import command as sanitize
from pytest_kgate.validation.machine import smoke

CALIBRATES = "--processes 1 --gates 2 --budget 0.1"


@dataclass(frozen=True)
class Run:
    """What a user types, and what then comes."""

    arguments: str
    says: str
    status: int = 0


RUNS = {
    "report": Run("report records.json", "PASS"),
    "rank": Run("rank records.json", "place  candidate"),
    "verify": Run("verify records.json --policy policy.toml", "BROKEN line 1, gates: at least 99 gates", 1),
    "bisect": Run("bisect test_it.py::test_before --good HEAD~3", "is in no git repository", 2),
    "history": Run("history history.jsonl", "0.655"),
    "sign": Run("sign records.json --key absent", "There is no key absent", 2),
    "insights": Run("insights", "memory-bound (sure)"),
    "show": Run("show records.json test_wmma", "demanded"),
    "simulate": Run("simulate --gates 4 --only independent", "| independent, 2 % |"),
    "simulate-search": Run("simulate-search --searches 1 --jobs 1 --only fastest", "| the fastest of twelve-round"),
    "calibrate": Run(f"calibrate --device host {CALIBRATES}", "sort"),
    "roofline": Run("roofline --device host", "1.23 TFLOP/s  of 512x512"),
    "selftest": Run("selftest test_it.py --kgate-device host -p no:cacheprovider", ""),
    "watch": Run("watch nowhere.py::test_it", "There is no file", 2),
    "measure": Run("measure --sdpa math --shape 1x1x16x16 --iters 8 --device host", "median"),
    "gate": Run("gate records.json", "The demand came after the data", 1),
    "evaluate": Run("evaluate mine.py:good --test test_it.py::test_nothing", "MISUSE, score 0", 2),
    "search": Run("search test_it.py::test_nothing", "There is no test test_it.py::test_nothing.", 2),
    "prompt": Run("prompt records.json --test tests/test_attention.py::test_wmma", "The best so far: "),
    "leaderboard": Run("leaderboard search.jsonl", "No candidate has been evaluated yet.", 1),
    "confirm": Run("confirm search.jsonl", "There is no test test_it.py::test_nothing.", 2),
    "kernelbench": Run(
        "kernelbench problem.py wrong.py --device host", "again     kgate kernelbench problem.py wrong.py", 1
    ),
    "flashinfer-bench": Run(
        "flashinfer-bench definition.json workloads.jsonl wrong.py:relu --device host --case 5ca1",
        "again     kgate flashinfer-bench definition.json workloads.jsonl wrong.py:relu --case 5ca1 --bound",
        1,
    ),
    "task-folder": Run(
        "task-folder task wrong.py:relu --device host --case tests:0",
        "again     kgate task-folder task wrong.py:relu --case tests:0 --bound",
        1,
    ),
    "system": Run("system show --device host", "fit for gates"),
    "smoke": Run("smoke --device host", "a kernel and itself"),
    "lock": Run("lock --device host", "kgate.lock: "),
    "oracle": Run("oracle --device host --lengths 17 --head-dims 80", "| 17 | 144 |"),
    "integrity": Run("integrity --device host --only exits", "| caught: ERROR"),
    "build": Run("build host", "host (x86_64)" if sys.platform == "linux" else "host"),
    "sanitize": Run("sanitize test_it.py", "compute-sanitizer was not found", 2),
    "profile": Run("profile test_it.py", "ncu was not found", 2),
    "metrics": Run("metrics dram_read --arch sm_120", "sm_120: dram__bytes_op_read.sum"),
    "impls": Run("impls", "wmma (cuda, ready): "),
}


MAY_END = {"calibrate": {0, 1}, "smoke": {0, 1}, "system": {0, 2}}
"""Two gates may err, by chance, and the machine may be busy."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, warm: str) -> Path:
    """Records and a test of a user's, on a machine without NVIDIA's tools; compiled kernels are not made anew."""
    pytest_kgate.build.library.binding()
    monkeypatch.setenv("KGATE_CACHE_DIR", str(cache.root()))
    monkeypatch.setattr(
        "pytest_kgate.bench.race.calibration.device_calibration.root", lambda: tmp_path / "calibrations"
    )
    known = rates_kept.identity_of(HostDevice().environment())
    rate, copies = {"float32": Rate(1.23e12, 0.01, 512)}, (Rate(2e10, 0.01, 2**29),)
    rates_kept.save(MeasuredRates(known, "2026-11-27T12:00:00", 1.0, rate, {}, copies))
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))  # nothing is timed here that is to be believed
    monkeypatch.setattr(sanitize, "find_program", lambda name: None)
    monkeypatch.setattr(profile, "find_program", lambda name: None)
    monkeypatch.setattr(smoke, "empty_cache", contextlib.nullcontext)
    monkeypatch.setattr(smoke, "_call", lambda *_, **__: session()[0])
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # else `simulate` starts processes
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    return tmp_path


def verbs() -> list[str]:
    """As the parser knows them."""
    (action,) = (one for one in cli._parser([])._actions if isinstance(one, argparse._SubParsersAction))
    return list(action.choices)


def kgate(arguments: str) -> int:
    try:
        return cli.main(shlex.split(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)


def test_every_verb_is_run() -> None:
    assert sorted(RUNS) == sorted(verbs())


@pytest.mark.parametrize("verb", RUNS)
def test_verb_does_on_the_host_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    run = RUNS[verb]
    status = kgate(run.arguments)
    printed = "".join(capsys.readouterr())
    assert "Traceback" not in printed
    assert status in (MAY_END.get(verb, {run.status}))
    assert run.says in printed


FOR_PEOPLE = (
    "report",
    "rank",
    "show",
    "calibrate",
    "roofline",
    "measure",
    "gate",
    "evaluate",
    "system",
    "smoke",
    "impls",
)
"""Verbs whose output is read in a terminal; that of others is made for pages, prompts and programs, or is pytest's."""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("verb", FOR_PEOPLE)
def test_no_line_is_wider_than_the_terminal_but_a_command_or_a_path(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    kgate(RUNS[verb].arguments)
    printed = capsys.readouterr().out
    wide = [line for line in printed.splitlines() if len(line) > columns and not line.startswith("  again ")]
    assert [line for line in wide if len(line.split()) > 1] == []


@pytest.mark.parametrize("verb", RUNS)
def test_verb_without_a_sense_is_refused_with_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    wrong = "--kgate-nonsense" if verb == "selftest" else "--nonsense"
    assert kgate(f"{verb} {wrong}") in (2, 4)  # 4 is pytest's own
    assert "Traceback" not in "".join(capsys.readouterr())


FOREIGN = {
    "empty": "",
    "list": "[1, 2]",
    "other": '{"a": 1}',
    "cut-off": '{"schema": "pytest-kgate/rec',
    "deep": "[" * 100_000,
    "missing": None,
}

READERS = (
    *(
        "report FILE",
        "show FILE test",
        "calibrate --show --json FILE",
        "calibrate --gather FILE --json new.json",
    ),
    *("simulate --from FILE", "simulate --designs --from FILE", "oracle --from FILE", "integrity --from FILE"),
)


@pytest.mark.parametrize("kind", FOREIGN)
def test_file_that_is_none_of_ours_gets_two_sentences_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = FOREIGN[kind]
    if content is not None:
        Path("it.json").write_text(content)
    for reader in READERS:
        assert kgate(reader.replace("FILE", "it.json")) == 2, reader
        printed = capsys.readouterr()
        assert printed.out == ""
        what, _ = printed.err.splitlines()
        assert what.startswith("kgate: ")
        assert "it.json" in what


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("calibrate --budget no", "argument --budget: takes a positive number of seconds, not 'no'"),
        ("calibrate --processes -1", "argument --processes: "),
        ("calibrate --device host --processes 0", "No gate was asked for."),
        ("calibrate --device host --timer graph --processes 1 --gates 1", "The graph timer needs a CUDA device."),
        ("sanitize --jobs 0", "--jobs cannot be 0."),
        ("build nothing", "There is no implementation 'nothing'."),
        ("integrity --only nothing", "nothing"),
        ("oracle --lengths 3", "--lengths 3 names none of the grid's."),
        ("simulate --gates 0", "--gates cannot be 0."),
        ("kernelbench nothing.py", "nothing.py can't be read"),
        ("flashinfer-bench definition.json workloads.jsonl --case 7", "has no workload 7"),
        ("task-folder task --case tests:7", "has no case tests:7"),
        ("show records.json", "the following arguments are required: TEST"),
        ("impls --width 80", "`kgate impls` does not take --width 80.\n`kgate impls --help` lists"),
        ("search test_it.py::test_it --kgate-device host", "If it is pytest's, write --pytest=--kgate-device=host. `"),
        (
            "evaluate new.py --test a --kgate-budgte 3",
            "take --kgate-budgte 3. Did you mean '--kgate-budget'?\nIf it is",
        ),
        ("watch test_it.py::test_it --runslow -q", "If it is pytest's, write --pytest=--runslow. `kgate watch --help`"),
    ],
)
def test_wrong_argument_is_named_with_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    assert kgate(arguments) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("arguments", ["show records.json test", "report records.json", "impls", "calibrate --help"])
def test_reader_that_has_gone_is_no_error(folder: Path, arguments: str) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.stdin.readline(); from pytest_kgate import cli; sys.exit(cli.main())",
    ]
    with subprocess.Popen(
        [*command, *shlex.split(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()  # before it writes anything
        process.stdout = None
        _, complaint = process.communicate("go\n")
    assert (process.returncode, complaint) == (0, "")


def test_calibration_that_a_summary_recommends_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = session()[0]
    assert record["timing"] is not None
    record["environment"] = {"device": "host", "cpu": {"model": "a CPU nobody has", "torch_threads": 1}}
    record["timing"].update(timer="wall", cache="hot")
    (line,) = summary([record])
    found = re.search(r"`kgate (.*?)`", line)
    assert found is not None
    assert kgate(f"{found[1]} {CALIBRATES}") in (0, 1)
    assert "Traceback" not in "".join(capsys.readouterr())
