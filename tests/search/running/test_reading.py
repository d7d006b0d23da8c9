"""What a search makes of the answers of `kgate evaluate`: trials with their states, and confirmations."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from search_records import record

from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.reading.confirmed import confirmation_of
from pytest_kgate.search.running.reading.estimate import labels
from pytest_kgate.search.running.reading.outcome import trial_of
from pytest_kgate.search.running.reading.together import trials_of
from pytest_kgate.search.space.configuration import Configuration

ONE = Configuration.of({"TILE": 64})


def answered(*records: Any, verdict: str = "MEASURED", feedback: str = "", passed: bool = True) -> Answered:
    found = copy.deepcopy(list(records))
    return Answered({"verdict": verdict, "records": found, "feedback": feedback, "passed": passed, "builds": []})


def test_raced_candidate_has_an_estimate_of_each_shape_and_their_geometric_mean():
    trial = trial_of(ONE, answered(record(0.5), record(2.0, "t.py::test_it[1x4]")))
    assert (trial.state, trial.reason, sorted(trial.estimates)) == ("raced", "", ["1x2", "1x4"])
    assert trial.objective is not None
    assert math.exp(trial.objective.log_ratio) == pytest.approx(1.0, rel=0.01)
    one = trial.estimates["1x2"]
    assert (one.rounds, one.degrees) == (12, 11)
    assert 0.0005 < one.stderr < 0.01
    assert trial.objective.stderr == pytest.approx(one.stderr / math.sqrt(2))
    assert trial.resources == {"registers": 64, "shared_bytes": 4096, "spill_bytes": 0}
    assert trial.seconds == {"check": 2.0, "race": 4.0}  # waiting for the device is in neither


def test_calls_are_named_by_what_tells_them_apart():
    assert labels([record(test="a.py::test[1x2]"), record(test="a.py::test[1x2]", call=1)]) == ["1x2", "1x2 call 2"]
    assert labels([record(test="a.py::test_a"), record(test="a.py::TestB::test_b")]) == ["test_a", "test_b"]
    assert labels([record(test="a.py::test_a[1]"), record(test="a.py::test_b[1]")]) == [
        "a.py::test_a[1]",
        "a.py::test_b[1]",
    ]


NO_RACE = {"timing": None, "seconds": {}}
CHEAT = {"integrity": {"findings": [{"check": "stream", "reason": "It works on another stream."}]}}


@pytest.mark.parametrize(
    ("came", "state", "said"),
    [
        (Answered(None, "The evaluation was ended by SIGKILL."), "crash", "SIGKILL"),
        (Answered(None, "It did not end.", killed=True), "timeout", "did not end"),
        (answered(record(verdict="WRONG", reason="wrong against relu", **NO_RACE), verdict="WRONG"), "wrong", "relu"),
        (answered(record(verdict="INVALID", **CHEAT), verdict="INVALID"), "cheats", "another stream"),
        (answered(record(verdict="ERROR", reason="it raised", **NO_RACE), verdict="ERROR"), "error", "raised"),
        (answered(verdict="MISUSE", feedback="mine(TILE=3) does not compile: no\n\n$ g++ ..."), "unbuildable", "no"),
        (answered(verdict="MISUSE", feedback="The test was skipped: no GPU"), "error", "skipped"),
        (
            answered(verdict="ERROR", feedback="The time limit of 4 s ended the candidate."),
            "timeout",
            "4 s",
        ),
        (answered(record(), verdict="ERROR", feedback="The candidate crashed: SIGSEGV ended the"), "crash", "SIGSEGV"),
        (answered(record(verdict="INVALID", reason="busy", **NO_RACE), verdict="INVALID"), "error", "busy"),
    ],
)
def test_every_end_has_its_state_and_its_reason(came, state, said):
    trial = trial_of(ONE, came)
    assert (trial.state, trial.objective, trial.raced) == (state, None, False)
    assert said in trial.reason
    assert "\n" not in trial.reason


def test_race_that_others_have_disturbed_steers_a_search_and_claims_nothing():
    disturbed = answered(record(verdict="INVALID", reason="another process used the CPU"), verdict="INVALID")
    assert trial_of(ONE, disturbed).state == "raced"
    said = confirmation_of(ONE, disturbed, 0.0125, 5)
    assert (said.passed, said.reason) == (False, "another process used the CPU")


def test_candidates_of_one_race_are_told_apart_by_their_knobs():
    others = [Configuration.of({"TILE": tile}) for tile in (128, 256)]
    raced = [
        record(ratio, f"t.py::test_it[1x2-TILE={tile}]", asked={"knobs": {"TILE": {"value": tile, "source": ""}}})
        for tile, ratio in ((64, 0.8), (128, 0.7))
    ]
    found = trials_of(
        [others[0], ONE, others[1]], answered(*raced, verdict="ERROR", feedback="mine does not compile"), ["1x2"]
    )
    assert [(one.state, one.joint or not one.raced) for one in found] == [
        ("raced", True),
        ("raced", True),
        ("unbuildable", True),
    ]
    assert [list(one.estimates) for one in found] == [["1x2"], ["1x2"], []]
    assert found[0].objective is not None
    assert math.exp(found[0].objective.log_ratio) == pytest.approx(0.7, rel=0.01)
    assert {one.state for one in trials_of(others, Answered(None, "SIGKILL"))} == {"crash"}


def gate(low: float, high: float, quantile: float = 0.5) -> dict[str, Any]:
    return {"quantile": quantile, "ratio": {"low": low, "estimate": (low + high) / 2, "high": high}}


def test_calls_that_were_timed_and_did_no_work_make_a_cheat_and_no_estimate():
    made = record(0.1, verdict="INVALID", reason="a timed launch left another answer")
    made["timing"]["undone"] = "a timed launch left another answer"
    trial = trial_of(ONE, answered(made, verdict="INVALID", passed=False))
    assert (trial.state, trial.reason, trial.objective) == ("cheats", "a timed launch left another answer", None)


def test_champion_must_pass_on_every_shape():
    good = record(verdict="PASS", gates=[gate(1.1, 1.2, 0.9), gate(0.7, 0.8)])
    other = record(verdict="PASS", gates=[gate(0.8, 0.9)], test="t.py::test_it[1x4]")
    same = record(verdict="MEASURED", call=100, against={"same": True})
    said = confirmation_of(ONE, answered(good, same, other, verdict="PASS"), 0.0125, 5)
    assert (said.passed, said.reason, said.alpha, said.processes) == (True, "", 0.0125, 5)
    assert said.ratios == {"1x2": (0.75, 0.7, 0.8), "1x4": (pytest.approx(0.85), 0.8, 0.9)}
    failing = {**other, "verdict": "INCONCLUSIVE", "reason": "not decided"}
    said = confirmation_of(ONE, answered(good, failing, verdict="INCONCLUSIVE", passed=False), 0.0125, 5)
    assert (said.passed, said.reason) == (False, "not decided")
    assert said.verdicts == {"1x2": "PASS", "1x4": "INCONCLUSIVE"}


@pytest.mark.parametrize(
    ("came", "said"),
    [
        (answered(record(verdict="MEASURED")), "No gate of the test demands speed"),
        (answered(record(verdict="PASS"), verdict="PASS"), "No gate of the test demands speed"),
        (answered(record(verdict="PASS"), verdict="PASS", passed=False, feedback="the test failed"), "the test failed"),
        (Answered(None, "The evaluation was ended by SIGKILL."), "SIGKILL"),
    ],
)
def test_what_no_gate_has_judged_is_not_confirmed(came, said):
    found = confirmation_of(ONE, came, 0.0125, 5)
    assert not found.passed
    assert said in found.reason
