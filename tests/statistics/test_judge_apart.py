"""Verdicts on arms that were measured apart, and how often they are wrong where each process has an offset."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge_apart import judge_apart
from pytest_kgate.statistics.judge_apart import rule_in_words


def processes(rng, latency, count, offset=0.005, rounds=24, samples=10):
    return [
        latency
        * math.exp(offset * rng.standard_normal())
        * np.exp(0.003 * rng.standard_normal((rounds, 1)) + 0.003 * rng.standard_normal((rounds, samples)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, Verdict.PASS), (1.0, Verdict.FAIL), (0.95, Verdict.INCONCLUSIVE)])
def test_a_clear_win_passes_and_a_kernel_against_itself_does_not(count, ratio, verdict) -> None:
    rng = np.random.default_rng(2)
    found = judge_apart(SpeedGate(0.95), processes(rng, ratio * 1e-5, count, 0.002), processes(rng, 1e-5, count, 0.002))
    assert found.verdict is verdict
    assert found.ratio is not None
    assert found.ratio.method == ("welch-t" if count >= 3 else "medians-apart")


@pytest.mark.parametrize("count", [1, 5])
def test_kernels_on_their_bound_pass_in_at_most_three_of_a_hundred(count) -> None:
    """Nominal 2.5 % a side; each process has an offset that all its rounds share. 3.9 % leave three standard errors."""
    rng, gate, passed, failed, trials = np.random.default_rng(11), SpeedGate(0.95), 0, 0, 400
    for _ in range(trials if count > 1 else 40):
        offset = 0.005 / math.sqrt(2)
        found = judge_apart(
            gate,
            processes(rng, 0.95e-5, count, offset, 12, 4),
            processes(rng, 1e-5, count, offset, 12, 4),
        )
        passed += found.verdict is Verdict.PASS
        failed += found.verdict is Verdict.FAIL
    assert max(passed, failed) <= (0.025 * trials + 3 * math.sqrt(0.025 * 0.975 * trials) if count > 1 else 4)


def test_arms_that_spread_differently_are_judged_by_both() -> None:
    rng = np.random.default_rng(3)
    steady, jumpy = processes(rng, 1e-5, 5, 0.0), processes(rng, 0.9e-5, 5, 0.08)
    found = judge_apart(SpeedGate(0.95), jumpy, steady)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "measure both with more --processes" in found.reason


def test_samples_that_are_no_latencies_are_invalid() -> None:
    rng = np.random.default_rng(4)
    broken = processes(rng, 1e-5, 3)
    broken[1][0, 0] = math.nan
    assert judge_apart(SpeedGate(0.95), broken, processes(rng, 1e-5, 3)).verdict is Verdict.INVALID


def test_processes_without_noise_are_known_to_a_tick() -> None:
    exact = [np.full((12, 4), 1e-5)] * 3
    found = judge_apart(SpeedGate(1.0), exact, exact, tick_seconds=1e-8)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.ratio is not None
    assert math.log(found.ratio.high) == pytest.approx(2e-3)


def test_a_gate_on_a_quantile_is_judged_by_the_rounds_quantiles() -> None:
    rng = np.random.default_rng(5)
    tail = [one + 1e-5 * (rng.random(one.shape) < 0.4) for one in processes(rng, 0.5e-5, 5)]
    plain = processes(rng, 1e-5, 5)
    assert judge_apart(SpeedGate(0.95), tail, plain).verdict is Verdict.PASS
    assert judge_apart(SpeedGate(0.95, quantile=0.9), tail, plain).verdict is Verdict.FAIL


def test_too_few_rounds_are_refused_and_the_rule_is_named() -> None:
    rng = np.random.default_rng(6)
    with pytest.raises(ValueError, match="fewer than 12 rounds"):
        judge_apart(SpeedGate(0.95), processes(rng, 1e-5, 3, rounds=11), processes(rng, 1e-5, 3))
    assert "error rate is not controlled" in rule_in_words(SpeedGate(0.95), 1, 5)
    assert "5 processes of the candidate and 3 of the reference" in rule_in_words(SpeedGate(0.95), 5, 3)
