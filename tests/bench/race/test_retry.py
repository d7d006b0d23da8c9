"""Races whose evidence is bad, as a user sees them: raced once more, and INVALID where it stays so."""

from __future__ import annotations

import json

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from sample_suite import RELU

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench.race.race import Plan
from pytest_kgate.bench.race.retry import race_with_retry
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Workload
from pytest_kgate.report.record.document import load
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.validation.simulate.scenarios import SCENARIOS

pytest.importorskip("jsonschema", reason="needs jsonschema, of the test extra")

CONFTEST = """
import numpy as np
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Mixture, White
from pytest_kgate.device.protocol import ColdCache, Reading

class Turning:
    '''The candidate's log latency in the first twelve rounds of a stopwatch, on top of its truth.'''
    def draw(self, rng, rounds, slots):
        log = np.zeros((2, rounds, slots))
        log[0, :12] = np.log(FIRST)
        return log

def bad(round):
    return BAD

def evidence(round):
    return EVIDENCE

def machine(round):
    return MACHINE

@pytest.fixture(scope="session")
def kgate_device():
    truth = {"candidate": RATIO * 1e-5, "reference": 1e-5}
    noise = Mixture((White(NOISE), Turning()))
    return FakeDevice(truth, noise, evidence=evidence, machine=machine, cold=COLD)
"""

TEST = (
    RELU
    + """
MARKERS
def test_gate(kbench):
    kbench(torch.relu, RELU)
"""
)

ALWAYS, FIRST_RACE = "True", "round < 12"
QUIET = "Reading(throttle=0, temperature_c=40.0, foreign_processes=0, seconds=1e-3)"

TROUBLES = {
    "clock": (
        # Near the bound: what is far from it stands, whatever such steps can have done.
        {"evidence": '{"sm_clock_hz": 2e9, "sm_clock_change": 0.3 if bad(round) else 0.0}', "ratio": 0.94},
        "separated the arms",
    ),
    "process": ({"machine": f"Reading(foreign_processes=1) if bad(round) else {QUIET}"}, "another process had the GPU"),
    "throttling": (
        {"machine": f"Reading(throttle=0x20) if round % 12 > 1 and bad(round) else {QUIET}", "ratio": 0.944},
        "began to throttle",
    ),
    "starved": ({"evidence": '{"retaken": 20 if bad(round) else 0}'}, "the stream was starved"),
}


@pytest.fixture
def play(pytester):
    """Run one gate of 0.95; returns its record and what the terminal said."""

    def run(
        outcome,
        *,
        bad,
        ratio=0.8,
        first=1.0,
        markers="@pytest.mark.speedup(0.95)",
        evidence="{}",
        machine=QUIET,
        cold="None",
        cache="hot",
        noise=0.01,
        options=(),
    ):
        values = {
            "NOISE": noise,
            "BAD": bad,
            "RATIO": ratio,
            "FIRST": first,
            "EVIDENCE": evidence,
            "MACHINE": machine,
            "COLD": cold,
        }
        conftest = CONFTEST
        for name, value in values.items():
            conftest = conftest.replace(name, str(value))
        pytester.makeconftest(conftest)
        pytester.makepyfile(TEST.replace("MARKERS", markers))
        result = pytester.runpytest_inprocess(
            "--kgate-json=records.json", "--kgate-foreign-load=invalid", f"--kgate-cache={cache}", *options
        )
        result.assert_outcomes(**{outcome: 1})
        demand_valid(json.loads((pytester.path / "records.json").read_text()))
        (record,) = load(pytester.path / "records.json")
        return record, result.stdout

    return run


@pytest.mark.parametrize("trouble", TROUBLES)
def test_bad_evidence_is_invalid_after_exactly_one_more_race(play, trouble):
    device, reason = TROUBLES[trouble]
    record, shown = play("failed", bad=ALWAYS, **device)
    assert (record["verdict"], record["gates"][0]["verdict"]) == ("INVALID", "INVALID")
    assert reason in record["reason"]
    tries = record["timing"]["evidence"]["tries"]
    assert len(tries) == 2
    assert all(reason in one["reasons"][0] for one in tries)
    assert [one["verdicts"] for one in tries] == [["PASS"], ["PASS"]]
    shown.fnmatch_lines(["*INVALID*"])


@pytest.mark.parametrize("trouble", TROUBLES)
def test_second_race_with_good_evidence_is_judged_as_any_other(play, trouble):
    device, reason = TROUBLES[trouble]
    record, _ = play("passed", bad=FIRST_RACE, **device)
    first, second = record["timing"]["evidence"]["tries"]
    assert record["verdict"] == "PASS"
    assert reason in first["reasons"][0]
    assert second["reasons"] == []
    assert first["seed"] != second["seed"] == record["seeds"]["race"]
    assert any("raced a second time" in warning and reason in warning for warning in record["warnings"])


STEPS = '{"sm_clock_hz": 2e9, "sm_clock_change": 0.3}'
BUSY = '{"candidate_wait": CANDIDATE, "reference_wait": REFERENCE, "foreign_cpu": 1.6, "steal": 0.0}'


@pytest.mark.parametrize(("ratio", "verdict"), [(0.8, "PASS"), (1.2, "FAIL")])
def test_disturbance_that_can_not_turn_the_verdict_is_told_and_nothing_more(play, ratio, verdict):
    record, _ = play("passed" if verdict == "PASS" else "failed", bad=ALWAYS, ratio=ratio, evidence=STEPS)
    assert record["verdict"] == verdict
    assert len(record["timing"]["evidence"]["tries"]) == 1
    assert any("separated the arms" in text and "too little to turn" in text for text in record["warnings"])


@pytest.mark.parametrize(
    ("candidate", "reference", "ratio", "verdict"),
    [
        (0.0, 0.9, 0.5, "INVALID"),  # alone, the reference may be ten times as fast
        (0.0, 0.2, 0.5, "PASS"),
        (0.9, 0.0, 0.5, "PASS"),  # alone, the candidate would only be faster
        (0.9, 0.0, 1.5, "INVALID"),
        (0.0, 0.4, 1.5, "FAIL"),
        (0.0, 0.9, 1.5, "INVALID"),  # slower it is, but nobody can say by how much
        (1.7, 1.7, 0.5, "INVALID"),
    ],
)
def test_other_work_on_the_cpu_counts_by_how_long_each_arm_waited_for_a_core(
    play, candidate, reference, ratio, verdict
):
    evidence = BUSY.replace("CANDIDATE", str(candidate)).replace("REFERENCE", str(reference))
    record, _ = play("passed" if verdict == "PASS" else "failed", bad=ALWAYS, ratio=ratio, evidence=evidence)
    assert record["verdict"] == verdict
    said = record["reason"] if verdict == "INVALID" else " ".join(record["warnings"])
    assert "other work took 1.6 of the machine's cores" in said


@pytest.mark.parametrize(
    ("wait", "noise", "verdict"),
    [
        (0.9, 0.3, "INVALID"),
        (0.003, 0.3, "INCONCLUSIVE"),
        (0.7, 5.0, "INVALID"),  # so wide an interval would hold any load
    ],
)
def test_no_longer_race_is_advised_where_other_work_is_what_blurs_the_ratio(play, wait, noise, verdict):
    evidence = BUSY.replace("CANDIDATE", str(wait)).replace("REFERENCE", str(wait))
    record, _ = play("failed", bad=ALWAYS, ratio=0.95, noise=noise, evidence=evidence, options=["--kgate-seed=7"])
    assert record["verdict"] == verdict
    assert ("other work took" in record["reason"]) == (verdict == "INVALID")


@pytest.mark.parametrize(("wait", "verdict"), [(0.9, "INVALID"), (0.1, "INCONCLUSIVE")])
def test_too_few_rounds_beside_other_work_are_no_reason_for_a_larger_budget(play, wait, verdict):
    evidence = BUSY.replace("CANDIDATE", str(wait)).replace("REFERENCE", str(wait))
    record, _ = play("failed", bad=ALWAYS, evidence=evidence, options=["--kgate-budget=0.002"])
    assert record["gates"][0]["ratio"] is None
    assert record["verdict"] == verdict


@pytest.mark.parametrize("trouble", ["machine", "evidence"])
def test_other_work_is_accepted_where_that_is_asked_for(play, trouble):
    what = {
        "machine": "Reading(foreign_processes=1)",
        "evidence": BUSY.replace("CANDIDATE", "0").replace("REFERENCE", "0.9"),
    }
    device = {trouble: what[trouble]}
    record, _ = play("passed", bad=ALWAYS, options=["--kgate-foreign-load=warn"], **device)
    assert record["verdict"] == "PASS"
    assert len(record["timing"]["evidence"]["tries"]) == 1
    assert any("accepted, as asked" in text for text in record["warnings"])


def test_waiting_is_the_arms_own_affair_where_nobody_else_works(play):
    evidence = BUSY.replace("CANDIDATE", "0.9").replace("REFERENCE", "0.9").replace("1.6", "0.1")
    record, _ = play("passed", bad=ALWAYS, evidence=evidence)
    assert record["verdict"] == "PASS"
    assert record["warnings"] == []


@pytest.mark.parametrize(("first", "ratio", "verdict"), [(0.5, 1.2, "FAIL"), (2.0, 0.8, "PASS")])
def test_second_race_counts_whatever_the_first_would_have_been(play, first, ratio, verdict):
    device, _ = TROUBLES["process"]
    outcome = "passed" if verdict == "PASS" else "failed"
    record, _ = play(outcome, bad=FIRST_RACE, ratio=ratio, first=first, **device)
    assert record["verdict"] == verdict
    assert record["timing"]["evidence"]["tries"][0]["verdicts"] == ["FAIL" if verdict == "PASS" else "PASS"]


@pytest.mark.parametrize("ratio", [0.8, 1.2])
def test_good_evidence_is_raced_once_whatever_the_verdict(play, ratio):
    record, _ = play("passed" if ratio < 1 else "failed", bad="False", ratio=ratio)
    (only,) = record["timing"]["evidence"]["tries"]
    assert only["seed"] == record["seeds"]["race"]
    assert record["timing"]["evidence"]["machine"][0]["temperature_c"] == 40.0


def test_candidate_that_takes_no_time_at_all_is_invalid(play):
    record, shown = play("failed", bad="False", ratio=0.0)
    assert record["verdict"] == "INVALID"
    assert "120 of 120 net latencies of the candidate are not positive" in record["reason"]
    shown.fnmatch_lines(["*INVALID*"])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_noise_alone_costs_no_second_race(scenario):
    arms = tuple(Arm(name, lambda inputs, output: None, False) for name in ("candidate", "reference"))
    workload = Workload(lambda seed: (), lambda inputs: None)
    for seed in range(5):
        device = scenario.device(0.95, seed)
        stopwatch = device.stopwatch(arms, workload)
        found = race_with_retry(device, stopwatch, [SpeedGate(0.95)], Plan(10.0, seed))
        assert len(found.facts["tries"]) == 1


def test_measurement_without_gates_is_kept_with_a_warning(play):
    record, _ = play("passed", bad=ALWAYS, markers="", **TROUBLES["process"][0])
    assert record["verdict"] == "MEASURED"
    assert any("not to be trusted: another process" in warning for warning in record["warnings"])


def test_machine_is_read_before_between_and_after_but_not_in_each_round(play):
    record, _ = play("failed", bad="False", ratio=0.95)
    at = [reading["round"] for reading in record["timing"]["evidence"]["machine"]]
    assert at[:3] == [0, 1, 6]
    assert at[-1] == record["timing"]["rounds"] == 96
    assert len(at) < 12


def test_cold_cache_that_is_not_cold_is_invalid_before_any_round(play):
    record, _ = play("failed", bad="False", cold="ColdCache(270.0, 275.0)", cache="cold")
    assert (record["verdict"], record["timing"]) == ("INVALID", None)
    assert "is not cold: a load takes 275 cycles" in record["reason"]
    assert "raced twice: so did the race before" in record["reason"]


def test_record_shows_what_proved_the_cache_cold(play):
    record, _ = play("passed", bad="False", cold="ColdCache(270.0, 700.0)", cache="cold")
    assert record["timing"]["evidence"]["cold"] == {"hot_cycles": 270.0, "flushed_cycles": 700.0}


def test_hot_cache_needs_no_proof(play):
    record, _ = play("passed", bad="False", cold="ColdCache(270.0, 275.0)")
    assert "cold" not in record["timing"]["evidence"]
