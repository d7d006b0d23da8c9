"""What several processes' records add up to; the processes are played by this one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from record_schema import demand_valid

from pytest_kgate.bench import call as bench
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import White
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import encode_samples
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.report.together import false_discovery
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate

ARMS = ("candidate", "reference")

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def _request(*gates, attempt=1, light=None, problem=RELU, **options):
    speed = tuple(gate.at_attempt(attempt) for gate in gates)
    settings = Settings(processes=4, **options)
    return Request("test_it.py::test", 0, torch.relu, problem, speed, None, settings, attempt=attempt, light=light)


def _run(request, ratio, change=lambda record: record, **device):
    """The record of a request whose processes are run here; `change` says what becomes of the records of each."""
    noise = Mixture((White(0.01), RaceOffset(0.005)))
    device = FakeDevice({"candidate": ratio * 1e-5, "reference": 1e-5}, noise=noise, **device)

    def run(request, spawn=None):
        return bench.run(request, device, ReferencePicker(), {}, lambda complaint: None, spawn=spawn).record

    def spawn(process, backend, limit_seconds):
        return change(run(dataclasses.replace(request, process=process)))

    record = run(request, spawn)
    demand_valid(document([record]))
    return record


def test_gates_of_one_race_share_its_processes():
    record = _run(_request(SpeedGate(0.95), SpeedGate(0.5, quantile=0.9)), 0.8)
    assert [gate["verdict"] for gate in record["gates"]] == ["PASS", "FAIL"]
    assert [len(gate["processes"]["ratios"]) for gate in record["gates"]] == [4, 4]
    assert (record["verdict"], record["timing"]["rounds"]) == ("FAIL", 4 * 96)
    assert any(warning.startswith("processes differ") for warning in record["warnings"])


def test_another_error_rate_is_asked_of_all_processes_together():
    loose, strict = SpeedGate(0.95), SpeedGate(0.95).at_least(0.9999)
    assert strict.at_least(0.9) == strict
    assert strict.at_least(None) == strict
    gates = _run(_request(loose, dataclasses.replace(strict, bound=0.951)), 0.94)["gates"]
    assert [gate["confidence"] for gate in gates] == [0.95, 0.9999]
    widths = [gate["ratio"]["high"] - gate["ratio"]["low"] for gate in gates]
    assert widths[1] > 4 * widths[0]
    assert gates[1]["nominal_level"] == pytest.approx(5e-5)


def test_verified_rounds_are_named_over_all_processes():
    probes = _run(_request(SpeedGate(0.95)), 0.8)["timing"]["probes"]
    assert len(probes["lots"]) == probes["verified"] > 4
    assert probes["lots"] == sorted(set(probes["lots"]))
    assert 0 <= probes["lots"][0] <= probes["lots"][-1] < probes["rounds"]


@pytest.fixture
def copies_in_2_us(monkeypatch, tmp_path):
    """RELU on a device that copies what it moves in 2 us."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path))
    copies = (Rate(512 / 2e-6, 0.0, 2**30),)
    identity = kept.identity_of({"device": "fake"})
    kept.save(MeasuredRates(identity, "2026-11-27T12:00:00+00:00", 1.0, {}, {}, copies))
    return dataclasses.replace(RELU, bytes=512.0)


@pytest.mark.parametrize(("ratio", "verdict"), [(0.3, "PASS"), (0.5, "INCONCLUSIVE"), (0.8, "FAIL")])
def test_a_share_of_the_roofline_is_judged_over_the_processes(copies_in_2_us, ratio, verdict):
    record = _run(_request(light=SpeedOfLightGate(0.4), problem=copies_in_2_us), ratio)
    (limit,) = record["limits"]
    assert record["verdict"] == limit["verdict"] == verdict
    assert limit["value"] == pytest.approx(20 / ratio, rel=0.02)
    assert limit["interval"]["method"] == "processes-t"
    assert record["roofline"]["floor_seconds"] == pytest.approx(2e-6)
    assert len(record["timing"]["processes"]) == 4


def test_a_problem_without_a_roofline_is_raced_in_its_processes_all_the_same():
    record = _run(_request(SpeedGate(0.95), light=SpeedOfLightGate(0.4)), 0.8)
    assert (record["gates"][0]["verdict"], record["limits"][0]["verdict"]) == ("PASS", "NOT MEASURED")
    assert record["verdict"] == "NOT MEASURED"


def test_a_share_of_broken_samples_is_invalid(copies_in_2_us):
    record = _run(_request(light=SpeedOfLightGate(0.4), problem=copies_in_2_us), 0.8, faults={5: float("nan")})
    assert record["verdict"] == "INVALID"
    assert "process 1 of 4: " in record["reason"]
    assert "limits" not in record


def test_failure_shows_what_each_process_found():
    record = _run(_request(SpeedGate(0.95)), 1.2)
    text = " ".join(failure_text(record).split())
    assert "after 384 rounds in 4 processes" in text
    assert "of which the rounds explain" in text
    assert "pooled, as if processes were alike, [1." in text
    assert "4 processes" in summary_table([record])


def test_rerun_is_judged_more_strictly():
    first, second = (_run(_request(SpeedGate(0.95), attempt=attempt), 0.8)["gates"][0] for attempt in (1, 2))
    assert (first["nominal_level"], second["nominal_level"]) == pytest.approx((0.025, 0.0125))
    assert second["ratio"]["high"] > first["ratio"]["high"]


def test_narrow_pass_over_processes_can_be_lost_among_many_gates():
    narrow = _run(_request(SpeedGate(0.95)), 0.925)
    assert 0.05 / 41 < narrow["gates"][0]["sequential_p"] <= 0.025
    others = [_run(_request(SpeedGate(0.95)), 1.2) for _ in range(2)]
    assert false_discovery.control([narrow], 0.05)[1] == []
    kept, lines = false_discovery.control([narrow, *others * 20], 0.05)
    assert kept[0]["verdict"] == "FAIL"
    assert "among 41 gates" in lines[0]


def test_process_with_broken_samples_is_invalid_and_named():
    record = _run(_request(SpeedGate(0.95)), 0.8, faults={5: float("nan")})
    assert record["verdict"] == record["gates"][0]["verdict"] == "INVALID"
    assert record["reason"].startswith("process 1 of 4: ")
    assert "not finite" in record["reason"]


BUSY = {"candidate_wait": 0.0, "reference_wait": 0.9, "foreign_cpu": 1.6, "steal": 0.0}
"""The reference may be ten times as fast alone."""


def test_process_that_judges_nothing_bears_no_disturbance():
    """Its own race has no verdict that could be clear of the bound by more than a disturbance can have moved it."""
    record = _run(_request(SpeedGate(0.95)), 0.5, evidence=lambda round: BUSY)
    assert record["verdict"] == "INVALID"
    assert record["reason"].startswith("process 1 of 4: other work took 1.6 of the machine's cores")


def test_process_whose_evidence_is_not_to_be_trusted_ends_the_race():
    def untrusted(record):
        return {**record, "verdict": "INVALID", "reason": "another program was on the GPU"}

    record = _run(_request(SpeedGate(0.95)), 0.8, untrusted)
    assert record["verdict"] == record["gates"][0]["verdict"] == "INVALID"
    assert record["reason"] == "process 1 of 4: another program was on the GPU"


def test_processes_that_were_timed_differently_do_not_add_up():
    timers = iter(["graph", "graph", "queue", "graph"])

    def timed(record):
        return {**record, "timing": {**record["timing"], "timer": next(timers)}}

    record = _run(_request(SpeedGate(0.95)), 0.8, timed)
    assert record["verdict"] == "INVALID"
    assert "timed in different ways (graph, queue); name one with --kgate-timer" in record["reason"]


def test_process_that_could_not_be_had_leaves_a_record():
    def crash(record):
        raise KgateError("Process 1 of 4 crashed.", "Run it alone.")

    record = _run(_request(SpeedGate(0.95)), 0.8, crash)
    assert (record["verdict"], record["gates"]) == ("ERROR", [])
    assert record["reason"] == "Process 1 of 4 crashed.\nRun it alone."


def test_race_without_a_gate_stays_in_its_own_process():
    record = _run(_request(), 0.8, change=lambda record: pytest.fail("a process was started"))
    assert record["verdict"] == "MEASURED"
    assert "processes" not in record["timing"]


def test_processes_that_took_fewer_samples_a_round_keep_all_of_them():
    counts = iter([10, 4, 10, 10])

    def shortened(record):
        count, timing = next(counts), record["timing"]
        arms = {arm: timing[arm] | {"samples": _first(timing[arm]["samples"], count)} for arm in ARMS}
        return {**record, "timing": {**timing, **arms, "samples_per_round": count}}

    timing = _run(_request(SpeedGate(0.95)), 0.8, shortened)["timing"]
    assert [one["samples_per_round"] for one in timing["processes"]] == [10, 4, 10, 10]
    for arm in ARMS:
        assert decode_samples(timing[arm]["samples"]).shape == (96 * 34, 1)


def _first(samples, count):
    return encode_samples(decode_samples(samples)[:, :count])
