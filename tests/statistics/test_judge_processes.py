"""Verdicts over made-up processes, and how often they are wrong where each process has an offset of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t

from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes
from pytest_kgate.validation.simulate import error_rates
from pytest_kgate.validation.simulate.scenarios import BY_NAME


def _runs(offsets, ratio=1.0, noise=0.01, rounds=96, samples=10):
    """One process for each offset, of the log ratio."""
    rng = np.random.default_rng(1)
    return [
        Run(
            *(
                np.exp(noise * rng.standard_normal((2, rounds, samples)))
                * [[[ratio * math.exp(offset)]], [[1.0]]]
                * 1e-5
            )
        )
        for offset in offsets
    ]


@pytest.mark.parametrize(
    ("ratio", "verdict", "said"),
    [
        (0.90, Verdict.PASS, ""),
        (1.00, Verdict.FAIL, "above the bound 0.95 by"),
        (0.948, Verdict.INCONCLUSIVE, "processes would decide it"),
        (0.95, Verdict.INCONCLUSIVE, "move the bound"),
    ],
)
def test_verdict_says_what_the_processes_add_up_to(ratio, verdict, said):
    judgement, _ = judge_processes(SpeedGate(0.95), _runs([-0.002, 0.001, 0.0, 0.002, -0.001], ratio))
    assert judgement.verdict is verdict
    assert said in judgement.reason
    assert judgement.rounds == 480


def test_an_offset_that_all_processes_share_is_not_averaged_out():
    runs = _runs([-0.002, 0.001, 0.0, 0.002, -0.001], 0.945)
    shared = [Run(run.candidate, run.reference, 0.005) for run in runs]
    alone, spread = judge_processes(SpeedGate(0.95), runs)
    judgement, _ = judge_processes(SpeedGate(0.95), shared)
    assert (alone.verdict, judgement.verdict) == (Verdict.PASS, Verdict.INCONCLUSIVE)
    half = t.ppf(0.975, 4) * math.hypot(0.005, math.sqrt(spread.variance_of_means / 5))
    assert math.log(judgement.ratio.high / judgement.ratio.estimate) == pytest.approx(half)
    assert judgement.p_value > alone.p_value
    assert "even 50 processes are unlikely to decide it" in judgement.reason


@pytest.mark.parametrize("confidence", [0.95, 0.975])
def test_interval_is_that_of_a_t_test_over_the_processes(confidence):
    judgement, spread = judge_processes(SpeedGate(0.95, confidence=confidence), _runs([-0.01, 0.0, 0.002, 0.004]))
    wanted = t.interval(confidence, 3, np.mean(spread.means), np.std(spread.means, ddof=1) / 2)
    assert np.log([judgement.ratio.low, judgement.ratio.high]) == pytest.approx(wanted)
    assert judgement.nominal_level == pytest.approx((1 - confidence) / 2)


def test_p_value_is_at_the_level_exactly_where_the_interval_touches_the_bound():
    runs = _runs([-0.01, 0.0, 0.002, 0.004])
    touching, _ = judge_processes(SpeedGate(0.95), runs)
    for bound, p in ((touching.ratio.high, 0.025), (touching.ratio.low, 0.975)):
        judgement, _ = judge_processes(SpeedGate(bound), runs)
        assert judgement.sequential_p == pytest.approx(p)


def test_quantile_gate_judges_the_tail_of_every_process():
    runs = _runs([-0.002, 0.0, 0.002], ratio=0.9, noise=0.02)
    slow_tail = [Run(np.where(np.arange(10) < 7, run.candidate, 1.3 * run.candidate), run.reference) for run in runs]
    assert judge_processes(SpeedGate(1.0), slow_tail)[0].verdict is Verdict.PASS
    assert judge_processes(SpeedGate(1.0, quantile=0.9), slow_tail)[0].verdict is Verdict.FAIL


def test_means_that_win_where_medians_do_not_are_no_pass():
    runs = _runs([-0.002, 0.0, 0.002], noise=0.001)
    skewed = [
        Run(np.where(np.arange(10) < 4, 0.8 * run.candidate, 1.01 * run.candidate), run.reference) for run in runs
    ]
    judgement, _ = judge_processes(SpeedGate(1.0), skewed)
    assert judgement.ratio.high < 1.0
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "ratio of medians" in judgement.reason


def test_processes_that_agree_exactly_are_known_to_a_tick():
    runs = _runs([0.0] * 3, ratio=0.949, noise=0.0)
    assert judge_processes(SpeedGate(0.95), runs)[0].verdict is Verdict.PASS
    assert judge_processes(SpeedGate(0.95), runs, tick_seconds=1e-7)[0].verdict is Verdict.INCONCLUSIVE


def test_samples_that_are_none_name_their_process():
    runs = _runs([0.0] * 3)
    runs[1].reference[0, 0] = float("nan")
    judgement, spread = judge_processes(SpeedGate(0.95), runs)
    assert (judgement.verdict, spread) == (Verdict.INVALID, None)
    assert judgement.reason.startswith("process 2 of 3: 1 of 960 samples of the reference are not finite")


def test_two_processes_are_too_few():
    with pytest.raises(ValueError, match="2 processes hold no useful measure"):
        judge_processes(SpeedGate(0.95), _runs([0.0, 0.0]))


def test_offsets_of_processes_are_told_from_the_noise_of_rounds():
    _, alike = judge_processes(SpeedGate(0.95), _runs([0.0] * 5))
    _, apart = judge_processes(SpeedGate(0.95), _runs([-0.01, -0.005, 0.0, 0.005, 0.01]))
    assert (alike.differ, apart.differ) == (False, True)
    assert math.sqrt(apart.variance_between) == pytest.approx(0.0079, rel=0.1)
    ends = np.log([apart.pooled.low, apart.pooled.high])
    assert np.ptp(ends) < 0.2 * 2 * t.ppf(0.975, 4) * math.sqrt(apart.variance_of_means / 5)


@pytest.mark.parametrize("rounds", [1, 5, 13])
def test_process_whose_budget_ended_early_counts_all_the_same(rounds):
    runs = [*_runs([0.0] * 3, ratio=0.8), *_runs([0.0], ratio=0.8, rounds=rounds, samples=4)]
    judgement, spread = judge_processes(SpeedGate(0.95), runs)
    assert judgement.verdict is Verdict.PASS
    assert spread.to_dict(runs)["rounds"] == [96, 96, 96, rounds]
    assert (spread.pooled is None) == (rounds == 1)


# ---- error rates, by the product's own races on the fake device

GATES = 60


def test_one_process_with_an_offset_of_its_own_lies():
    found = error_rates.count_verdicts(BY_NAME["offset"], error_rates.BOUND, range(GATES))
    assert found.passed / GATES > 0.2  # 0.43 of many
    assert found.failed / GATES > 0.2  # 0.43 of many


def test_five_processes_with_offsets_err_as_often_as_promised():
    found = error_rates.count_verdicts(BY_NAME["offset-processes"], error_rates.BOUND, range(GATES))
    for wrong in (found.passed, found.failed):
        assert binomtest(wrong, GATES, 0.025, alternative="greater").pvalue >= 0.01, found
    assert found.rounds == GATES * 5 * 96


def test_offsets_are_said_to_differ_by_chance_in_one_of_a_hundred():
    rng = np.random.default_rng(7)
    gate, said = SpeedGate(1.0), 0
    for _ in range(200):
        runs = [Run(*(1e-5 * np.exp(0.01 * rng.standard_normal((2, 96, 10))))) for _ in range(5)]
        _, spread = judge_processes(gate, runs)
        said += spread.differ
    assert binomtest(said, 200, 0.01, alternative="greater").pvalue >= 0.01


@pytest.mark.parametrize("name", ["independent", "ar80", "outliers"])
def test_quantile_gates_on_their_bound_err_as_often_as_promised(name):
    gate = SpeedGate(error_rates.BOUND, quantile=0.9)
    found = [one.verdict for one in error_rates.judgements(BY_NAME[name], error_rates.BOUND, range(100), gate=gate)]
    for wrong in (Verdict.PASS, Verdict.FAIL):
        assert binomtest(found.count(wrong), 100, 0.025, alternative="greater").pvalue >= 0.01
