"""`--kgate-history` and `--kgate-compare`: a session adds its gates, and stands beside the one before."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from histories import point

from pytest_kgate import cli
from pytest_kgate.report.together.history.store import append
from pytest_kgate.report.together.history.store import read

BODY = """
@pytest.mark.speedup(0.95)
def test_gate(kbench):
    kbench(good, RELU, name="mine")

@pytest.mark.allclose(1e-3)
def test_measured(kbench):
    kbench(good, RELU)
"""


def test_session_appends_its_gates_and_stands_beside_the_last_one(suite, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "test_session_appends_its_gates_and_stands_beside_the_last_one.py::test_gate"
    pytester = suite(BODY, 0.8)
    path = pytester.path / "history.jsonl"
    append(path, point(0, 0.9, noise=0.0, test=name, reference="relu").line().encode())
    path.write_bytes(path.read_bytes().rstrip())  # as a killed writer may leave it
    result = pytester.runpytest_inprocess("--kgate-history=history.jsonl", "--kgate-compare=last")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "Compared with last. The sessions were measured apart: no verdict follows.",
            f"  {name}, measured before on 2 Jan 2026 at *",
            "    ratio    0.*, was 0.900 (-1*.* %)",
            "    latency  not compared: another device, GPU, card, *",
            "  1 gate not measured then",
            "history: *history.jsonl",
        ]
    )
    history = read(path)
    assert history.said == []
    assert [(one.test == name, one.gate, one.verdict) for one in history.points] == [
        (True, 0, "PASS"),
        (True, 0, "PASS"),
        (False, None, "PASS"),
    ]
    monkeypatch.chdir(pytester.path)
    assert cli.main(["history", "history.jsonl", "test_gate"]) == 0


def test_history_that_lacks_gates_is_not_told_to_be_written(suite) -> None:
    body = """
    from pathlib import Path

    @pytest.mark.speedup(0.95)
    def test_gate(kbench):
        Path("h.jsonl").unlink()
        Path("h.jsonl").mkdir()
        kbench(good, RELU)
    """
    result = suite(textwrap.dedent(body), 0.8).runpytest_inprocess("--kgate-history=h.jsonl")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*h.jsonl could not be written (Is a directory): it lacks 1 gate."])
    result.stdout.no_fnmatch_line("history: *")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kgate-compare=last"], "--kgate-compare last needs a history."),
        (["--kgate-compare=no-such"], "--kgate-compare no-such is no file, and a revision needs a history."),
        (["--kgate-history=h.jsonl", "--kgate-compare=no-such"], "--kgate-compare no-such is no file and no revision."),
        (["--kgate-history=a.json", "--kgate-json=a.json"], "one would take the place of the other"),
        (["--kgate-history=test_it.py/h.jsonl"], "h.jsonl can't be written"),
        (["--kgate-history=/dev/null"], "/dev/null is not a regular file; a history is not written to devices."),
    ],
)
def test_what_can_not_work_is_said_before_any_test_runs(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    pytester.makepyfile(test_it="def test_it():\n    pass\n")
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
    assert not list(Path(pytester.path).glob("h.jsonl"))
