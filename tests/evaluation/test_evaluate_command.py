"""`kgate evaluate`: for every outcome one JSON object, the exit status that belongs to it, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from evaluated import CANDIDATES
from evaluated import TESTS
from record_schema import EVALUATION_SCHEMA_FILE
from record_schema import demand_valid_evaluation
from record_schema import evaluation_schema_text

from pytest_kgate import cli
from pytest_kgate.evaluation.verb.session import waited_seconds
from pytest_kgate.integrity.isolation.process.judge.guard import children
from pytest_kgate.integrity.isolation.process.judge.guard import guard_process
from pytest_kgate.system import procfs
from pytest_kgate.system.gpu_lease import leased

BROKEN = """#include "sdpa.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) { return args->nothing; }
"""

FAULTY = """
import torch
from pytest_kgate import Problem

def broken(x):
    raise RuntimeError("no such thing")

def test_it(kbench):
    kbench(torch.relu, Problem("faulty", lambda g: (torch.randn(8, generator=g),), broken, torch.relu))
"""


@dataclass(frozen=True)
class Answer:
    """What a program has of one call."""

    status: int
    json: dict[str, Any]

    def of(self, status: int, verdict: str, stage: str | None, *said: str) -> dict[str, Any]:
        found = self.json
        assert (self.status, found["verdict"], found["stage"]) == (status, verdict, stage), found["feedback"]
        for part in said:
            assert part in found["feedback"]
        return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "made.py").write_text(CANDIDATES)
    (tmp_path / "broken.cpp").write_text(BROKEN)
    (tmp_path / "broken.py").write_text("def good(x) return x\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def evaluate(folder: Path, warm: str, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the verb, in a warm session, and hold to what is true of every outcome."""

    def run(candidate: str | None, test: str = "test_it.py::test_it", *more: str) -> Answer:
        before = children()
        status = cli.main(["evaluate", *filter(None, [candidate]), "--test", test, "--json", "-", *more])
        printed = capfd.readouterr()
        found = json.loads(printed.out)
        demand_valid_evaluation(found)
        assert "Traceback (most" not in found["feedback"]
        assert printed.err == ""
        assert children() <= before
        assert os.listdir(folder / "tmp") == []
        assert (found["score"] > 0) <= (found["ratio"] is not None)
        return Answer(status, found)

    return run


def test_candidate_that_passes(evaluate):
    found = evaluate("made.py:good").of(0, "PASS", "time")
    assert found["passed"]
    assert found["score"] == pytest.approx(1 / found["ratio"]["high"])
    assert found["record"]["candidate"]["name"] == "good"


def test_so_many_rounds_measure_a_candidate_that_would_fail_and_one_that_is_wrong_is_not_timed(evaluate):
    found = evaluate("made.py:slow", "test_it.py::test_fast", "--rounds", "3").of(0, "MEASURED", "time")
    assert found["record"]["timing"]["rounds"] == 3
    assert found["ratio"]["bound"] is None
    assert 0 < found["score"] == pytest.approx(1 / found["ratio"]["high"])
    assert evaluate("made.py:wrong", "test_it.py::test_it", "--rounds", "3").of(1, "WRONG", "check")["ratio"] is None


def test_slow_candidate_has_a_score_and_hears_how_slow_it_is(evaluate):
    found = evaluate("made.py:slow", "test_it.py::test_fast").of(1, "FAIL", "time", "above the bound")
    assert 0 < found["score"] < 1


def test_wrong_answer_is_shown_where_it_is(evaluate):
    found = evaluate("made.py:wrong").of(1, "WRONG", "check", "worst", "exact is 0")
    assert found["score"] == 0


# A table, of the shape that every parametrised test of mistakes has; what it calls is only here.
@pytest.mark.parametrize(
    ("candidate", "stage", "said"),
    [
        ("broken.cpp", "build", "nothing"),
        ("broken.py:good", "build", "SyntaxError"),
        ("made.py:gelu", "build", "has no function gelu"),
        ("made.py:raises", "check", 'made.py", line'),
        ("made.py:crashes", "check", "in crashes"),
        ("made.py:exits", "check", "ended the process, with status 0"),
        ("made.py:leaves", "check", "SystemExit"),
        ("made.py:interrupts", "check", "KeyboardInterrupt"),
        ("made.py:greedy", "check", "ran out of host memory"),
    ],
)
def test_candidate_without_an_answer_is_an_error_that_says_why(evaluate, candidate, stage, said):
    found = evaluate(candidate).of(1, "ERROR", stage, said)
    assert found["score"] == 0


def test_endless_loop_in_python_is_interrupted_and_told_with_its_place(evaluate):
    evaluate("made.py:endless", "test_it.py::test_it", "--pytest=--kgate-timeout=0.3").of(
        1, "ERROR", "check", "hung", "it was in endless, made.py line"
    )


def test_candidate_stuck_in_native_code_is_ended_at_the_limit(evaluate):
    evaluate("made.py:stuck", "test_it.py::test_it", "--time-limit", "4").of(
        1, "ERROR", "check", "The time limit of 4 s ended the candidate"
    )


def test_busy_device_is_told_apart(evaluate):
    with leased("host", 0):
        answer = evaluate("made.py:good", "test_it.py::test_it", "--pytest=--kgate-timeout=0.3")
        answer.of(75, "BUSY", "build", "timing on host")


@pytest.mark.parametrize(
    ("candidate", "test", "more", "said"),
    [
        ("nowhere.py:good", "test_it.py::test_it", (), "There is no file nowhere.py"),
        ("made.py", "test_it.py::test_it", (), "names no function"),
        ("bare:good", "test_it.py::test_it", (), "bare is named as no candidate is"),
        ("made.py:good", "test_it.py::test_nothing", (), "pytest finds no such test."),
        ("made.py:good", "test_it.py::test_without", (), "does not call kbench"),
        ("made.py:good", "test_it.py::test_broken", (), "nothing_of_the_kind"),
        ("made.py:good", "test_it.py::test_it", ("--until", "soon"), "cannot be 'soon'"),
        ("made.py:good", "test_it.py::test_it", ("--time-limit", "0"), "cannot be '0'"),
        ("made.py:good", "test_it.py::test_it", ("--rounds", "1"), "cannot be '1'"),
        ("made.py:good", "test_it.py::test_it", ("--rounds", "3", "--until", "check"), "cannot go with --until check"),
        ("made.py:good", "", (), "--test is missing"),
        ("it.cu", "test_it.py::test_it", (), "it.cu needs a CUDA device"),
    ],
)
def test_misuse_blames_no_candidate(evaluate, folder, candidate, test, more, said):
    (folder / "it.cu").write_text("")
    (folder / "bare").write_text("")
    answer = evaluate(candidate, test, *more)
    assert (answer.status, answer.json["verdict"]) == (2, "MISUSE")
    assert said in answer.json["feedback"]


def test_problem_that_fails_blames_no_candidate_and_options_go_by_the_plugins_names(evaluate, folder):
    (folder / "test_faulty.py").write_text(FAULTY)
    answer = evaluate("made.py:good", "test_faulty.py::test_it", "--kgate-budget", "3", "--kgate-weak", "allow")
    found = answer.of(2, "MISUSE", "check", "The reference raised RuntimeError: no such thing.", "in broken")
    assert not found["passed"]
    assert found["record"]["at_fault"] == "problem"
    assert found["record"]["asked"]["sources"]["budget"] == "--kgate-budget"


def test_verdicts_on_the_evidence_are_no_pass(evaluate):
    evaluate("made.py:cheats").of(1, "INVALID", "time")
    evaluate("made.py:damages").of(1, "ERROR", "time", "ended the process")
    evaluate("made.py:good", "test_it.py::test_weak").of(1, "WEAK", "time")
    evaluate("made.py:good", "test_it.py::test_limited").of(1, "NOT MEASURED", "time", "was not compiled")
    found = evaluate("made.py:good", "test_it.py::test_undecided").of(1, "INCONCLUSIVE", "time")
    assert found["feedback"]


def test_test_that_fails_beside_the_gate_fails_the_candidate(evaluate):
    found = evaluate("made.py:good", "test_it.py::test_more").of(1, "PASS", "time", "more than the gate")
    assert (found["passed"], found["score"]) == (False, 0)


def test_worst_of_several_calls_counts(evaluate):
    found = evaluate("made.py:good", "test_it.py::test_twice").of(1, "FAIL", "time")
    assert (found["record"]["call"], found["ratio"]["bound"]) == (1, 0.001)


def test_own_candidate_of_a_test_is_judged_with_all_its_calls(evaluate):
    found = evaluate(None, "test_it.py::test_twice", "--pytest=--kgate-confidence=0.999").of(1, "FAIL", "time")
    assert [(one["candidate"]["name"], one["verdict"]) for one in found["records"]] == [
        ("relu", "PASS"),
        ("relu", "FAIL"),
    ]
    assert found["record"] == found["records"][1]
    assert found["record"]["gates"][0]["confidence"] == 0.999


def test_kernels_that_a_test_asks_for_are_named(evaluate, folder):
    (folder / "test_mine.py").write_text("def test(kernels): kernels('mine.cpp', TILE=8)\n")
    (folder / "mine.cpp").write_text(
        BROKEN.replace("KGATE_EXPORT", "#ifndef TILE  // knob: rows\n#define TILE 4\n#endif\nKGATE_EXPORT", 1)
    )
    found = evaluate(None, "test_mine.py").of(2, "MISUSE", None, "mine(TILE=8) does not compile")
    assert found["builds"] == [
        {
            "source": str(folder / "mine.cpp"),
            "knobs": {"TILE": 8},
            "arch": None,
            "debug": False,
            "confined_seconds": None,
        }
    ]


def test_waiting_for_the_device_is_not_of_the_candidates_time():
    steps = [("build", 0.0), ("wait", 1.0), ("check", 4.0), ("time", 5.0), ("build", 6.0), ("wait", 7.0)]
    notes = [*({"step": step, "at": at} for step, at in steps), {"step": "wait", "at": "now"}, {"told": ""}]
    assert waited_seconds(notes, 9.0) == 5.0
    assert waited_seconds([], 9.0) == 0.0


def test_steps_behind_the_last_one_are_left_out(evaluate):
    found = evaluate("made.py:good", "test_it.py::test_it", "--until", "check").of(0, "PASS", "check")
    assert found["record"]["timing"] is None
    evaluate("made.py:wrong", "test_it.py::test_it", "--until", "check").of(1, "WRONG", "check")
    found = evaluate("made.py:wrong", "test_it.py::test_it", "--until", "build").of(0, "MEASURED", "build")
    assert found["record"]["correctness"] is None


def test_what_a_candidate_prints_and_starts_is_kept_away(evaluate):
    evaluate("made.py:talks", "test_it.py::test_it", "--until", "check").of(0, "PASS", "check")
    evaluate("made.py:forks").of(1, "WRONG", "check")


def test_isolated_candidate_that_crashes(evaluate):
    evaluate("made.py:crashes", "test_it.py::test_it", "--isolate").of(1, "ERROR", "check", "SIGSEGV")


def test_schema_is_the_one_that_the_types_make():
    assert EVALUATION_SCHEMA_FILE.read_text() == evaluation_schema_text()


def test_program_that_is_killed_leaves_no_candidate_behind(folder):
    program = [sys.executable, "-m", "pytest_kgate.cli", "evaluate", "made.py:forever", "--test", "test_it.py::test_it"]
    program += ["--json", "-"]
    signals = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
    with guard_process():
        started = {}
        for name in signals:
            (folder / f"locks of {name}").mkdir()  # neither waits for the other
            more = {"WHO": name, "KGATE_LOCK_DIR": str(folder / f"locks of {name}")}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            started[name] = subprocess.Popen(program, env={**os.environ, **more}, **pipes)
        for name, process in started.items():
            while not (folder / name).is_file():
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signals[name])
            said, _ = process.communicate(timeout=10)
            assert process.returncode in (143, -signal.SIGKILL)
            if name == "TERM":  # whoever reads the answer gets one
                answer = json.loads(said)
                assert answer["verdict"] == "MISUSE"
                assert "ended by a signal (SIGTERM)" in answer["feedback"]
        candidates = {int((folder / name).read_text()) for name in signals}
        end = time.monotonic() + 10
        while any(pid in candidates and fields[0] != "Z" for pid, fields in procfs.processes()):
            assert time.monotonic() < end
            time.sleep(0.02)
