"""A number of rounds: checked, raced exactly so often, and nothing judged."""

from __future__ import annotations

import json
import math

import pytest
from record_schema import demand_valid

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.retry import race_with_retry
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.report.ranking.log_ratio import log_ratio_estimate
from pytest_kgate.report.record.document import load


def test_gates_are_left_out_and_wrong_kernels_are_never_timed(suite):
    pytester = suite("""
    @pytest.mark.perf(processes=5)
    @pytest.mark.speedup(0.5)
    @pytest.mark.speedup(0.9, quantile=0.9)
    @pytest.mark.metrics(tensor=">= 60 %")
    def test_good(kbench):
        assert kbench(good, RELU)["verdict"] == "MEASURED"

    @pytest.mark.perf(percentile=0.99)
    @pytest.mark.speedup(0.9)
    def test_wrong(kbench):
        kbench(wrong, RELU)
    """)
    result = pytester.runpytest_inprocess("--kgate-rounds=7", "--kgate-json=records.json")
    result.assert_outcomes(passed=1, failed=1)
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    good, wrong = load(pytester.path / "records.json")
    assert (good["verdict"], good["gates"], good["timing"]["rounds"]) == ("MEASURED", [], 7)
    assert good["correctness"]["verdict"] == "PASS"
    assert good["measured"]["rounds"] == 7
    assert "side effects of the candidate" in good["measured"]["not_looked_at"]
    assert len(good["timing"]["evidence"]["tries"]) == 1
    estimate = log_ratio_estimate(good)
    assert estimate is not None
    assert (estimate.degrees, estimate.rounds) == (6, 7)
    assert math.exp(estimate.log_ratio) == pytest.approx(good["timing"]["ratio"]["estimate"])
    assert estimate.interval().to_dict() == good["timing"]["ratio"]
    assert (wrong["verdict"], wrong["timing"], log_ratio_estimate(wrong)) == ("WRONG", None, None)


def raced(rounds: int, budget: float = 10.0, **device: object):
    arms = [Arm(name, lambda inputs, output: inputs[0], takes_output=False) for name in ("candidate", "reference")]
    fake = FakeDevice({"candidate": 8e-6, "reference": 1e-5}, White(0.02), **device)
    watch = fake.stopwatch(arms, Workload(lambda seed: (seed,), lambda inputs: None))
    return race_with_retry(fake, watch, (), race.Plan(budget, seed=1, rounds=rounds))


@pytest.mark.parametrize("rounds", [2, 13, 100])
def test_race_takes_exactly_so_many_rounds_whatever_the_budget(rounds: int) -> None:
    found = raced(rounds, budget=1e-6)
    assert found.race.rounds == rounds
    assert found.race.ratio is not None
    assert found.race.ratio.low < 0.8 < found.race.ratio.high


def test_disturbance_is_told_and_costs_no_second_race() -> None:
    found = raced(6, machine=lambda done: Reading(foreign_processes=1))
    assert found.race.rounds == 6
    assert len(found.facts["tries"]) == 1
    assert found.invalid is None
    assert any(warning.startswith("disturbed: ") for warning in found.warnings)


def test_samples_that_are_no_latency_are_invalid() -> None:
    assert "not positive" in (raced(6, faults={3: -1e-6}).invalid or "")


@pytest.mark.parametrize(
    "other", [{"processes": 5}, {"percentile": 0.99}, {"selftest": True}, {"until": "check"}, {"profile": True}]
)
def test_what_asks_for_more_than_a_measurement_is_refused(other: dict[str, object]) -> None:
    (name,) = other
    with pytest.raises(UsageError, match=rf"rounds=3 \(default\) cannot go with {name}"):
        check_conflicts(Options(rounds=3, **other))  # type: ignore[arg-type]
    check_conflicts(Options(rounds=3, sources={name: "ini"}, **other))  # type: ignore[arg-type]
