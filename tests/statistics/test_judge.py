"""Verdicts on made-up rounds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge import measure
from pytest_kgate.statistics.judge import precise_enough
from pytest_kgate.statistics.judge import with_bootstrap_intervals

SEED = 42
"""The project's default seed."""

Samples = NDArray[np.float64]


def _samples(ratio: float, rounds: int, sd: float = 0.02, seed: int = SEED) -> tuple[Samples, Samples]:
    rng = np.random.default_rng(seed)
    candidate, reference = 10e-6 * np.exp(rng.normal(0, sd, (2, rounds, 10)))
    return ratio * candidate, reference


def _median_ratio(samples: tuple[Samples, Samples]) -> float:
    return float(np.median(samples[0]) / np.median(samples[1]))


def _judged(gate: SpeedGate, samples: tuple[Samples, Samples], **options: float) -> Judgement:
    judgement = judge_rounds(gate, *samples, seed=SEED, final=True, **options)
    assert judgement is not None
    return judgement


# ---- verdicts


def test_a_clear_win_passes_without_a_reason() -> None:
    judgement = _judged(SpeedGate(0.95), _samples(0.8, 12))
    assert (judgement.verdict, judgement.reason, judgement.look) == (Verdict.PASS, "", 0)
    assert judgement.ratio is not None
    assert judgement.ratio.low < 0.8 < judgement.ratio.high < 0.95
    assert judgement.p_value is not None
    assert judgement.nominal_level is not None
    assert judgement.p_value < judgement.nominal_level < 0.025


def test_a_clear_loss_fails_and_says_by_how_much() -> None:
    judgement = _judged(SpeedGate(0.95), _samples(1.1, 12))
    assert judgement.verdict is Verdict.FAIL
    assert "the ratio is 1.10" in judgement.reason
    assert "above the bound 0.95 by 16 %" in judgement.reason


def test_faster_but_not_by_enough_fails() -> None:
    assert _judged(SpeedGate(0.95), _samples(0.98, 96)).verdict is Verdict.FAIL


def test_undecided_asks_for_more_rounds_until_the_last_look() -> None:
    gate = SpeedGate(1.0)
    assert [judge_rounds(gate, *_samples(1.0, rounds), seed=SEED) for rounds in (12, 24, 48)] == [None] * 3
    judgement = judge_rounds(gate, *_samples(1.0, 96), seed=SEED)
    assert judgement is not None
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "fixed clocks" in judgement.reason


@pytest.mark.parametrize("rounds", [1, 11, 13, 95])
def test_nothing_is_decided_between_looks(rounds: int) -> None:
    assert judge_rounds(SpeedGate(0.95), *_samples(0.5, rounds), seed=SEED) is None


def test_a_budget_that_ends_between_looks_falls_back_on_the_latest() -> None:
    candidate, reference = _samples(1.0, 60)
    candidate[48:] *= 0.1  # not yet paid for
    judgement = _judged(SpeedGate(0.9), (candidate, reference))
    assert (judgement.rounds, judgement.look, judgement.verdict) == (60, 2, Verdict.FAIL)


def test_too_few_rounds_give_no_interval_and_say_so() -> None:
    judgement = _judged(SpeedGate(0.95), _samples(0.5, 11))
    assert (judgement.verdict, judgement.ratio) == (Verdict.INCONCLUSIVE, None)
    assert judgement.reason == "11 rounds were taken, and the first look needs 12; raise the budget"
    assert judgement.rounds_to_decide == 12
    assert with_bootstrap_intervals(judgement, *_samples(0.5, 11), seed=SEED) == judgement
    one = _judged(SpeedGate(0.95), _samples(0.8, 1))
    assert one.reason == "1 round was taken, and the first look needs 12; raise the budget"


def test_a_race_that_ended_early_foresees_the_look_that_decides_it() -> None:
    few = _samples(0.93, 8)
    assert _judged(SpeedGate(0.95), few).rounds_to_decide == 12
    assert _judged(SpeedGate(_median_ratio(few) * 1.002), few).rounds_to_decide in (48, 96)


def test_large_shares_are_never_written_in_exponents() -> None:
    assert "above the bound 0.5 by 100 %" in _judged(SpeedGate(0.5), _samples(1.0, 12, sd=1e-5)).reason
    assert "above the bound 0.01 by 27900 %" in _judged(SpeedGate(0.01), _samples(2.8, 12, sd=1e-6)).reason


def test_no_rounds_at_all_are_inconclusive() -> None:
    assert _judged(SpeedGate(0.95), (np.empty((0, 1)), np.empty((0, 1)))).verdict is Verdict.INCONCLUSIVE


def test_inconclusive_says_how_many_rounds_would_do() -> None:
    judgement = _judged(SpeedGate(1.0), _samples(0.994, 12))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "rounds would decide it: raise the budget" in judgement.reason


def test_inconclusive_says_when_more_rounds_would_not_do() -> None:
    judgement = _judged(SpeedGate(_median_ratio(_samples(1.0, 24))), _samples(1.0, 24))
    assert "even 96 rounds are unlikely to decide it" in judgement.reason


def test_a_bound_above_one_allows_a_slower_candidate() -> None:
    judgement = _judged(SpeedGate(1.05), _samples(1.02, 96))
    assert judgement.verdict is Verdict.PASS
    assert judgement.bootstrap_difference is not None
    assert judgement.bootstrap_difference.estimate == pytest.approx((1.02 - 1.05) * 10e-6, rel=0.1)
    assert _judged(SpeedGate(1.05), _samples(1.08, 96)).verdict is Verdict.FAIL


def test_a_quantile_gate_judges_the_tail() -> None:
    """The candidate's median is 5 % better, its slowest fifth of samples 30 % worse."""
    candidate, reference = _samples(0.95, 96)
    candidate[:, :2] *= 1.3 / 0.95
    assert _judged(SpeedGate(1.0), (candidate, reference)).verdict is Verdict.PASS
    assert _judged(SpeedGate(1.0, quantile=0.9), (candidate, reference)).verdict is Verdict.FAIL
    assert _judged(SpeedGate(1.0, quantile=0.1), (candidate, reference)).verdict is Verdict.PASS


def test_pass_needs_the_medians_too() -> None:
    """Interquartile means clear the bound, medians sit on the same tick."""
    reference = np.tile([1, 1, 1, 1, 1, 1, 2, 2, 2, 2], (96, 1)) * 1e-6
    candidate = np.tile([1, 1, 1, 1, 1, 1, 1, 1, 1, 2], (96, 1)) * 1e-6
    judgement = _judged(SpeedGate(0.99), (candidate, reference))
    assert judgement.ratio is not None
    assert judgement.ratio.high < 0.99
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "the ratio of medians 1.0000 is not below the bound 0.99" in judgement.reason


def test_the_classic_rule_alone_is_labelled_and_knows_no_doubt() -> None:
    gate = SpeedGate(1.0, rule="classic")
    assert judge_rounds(gate, *_samples(0.9, 48), seed=SEED) is None  # one look only, at the end
    passed = _judged(gate, _samples(0.9, 96))
    assert (passed.verdict, passed.to_dict()["rule"]) == (Verdict.PASS, "classic")
    assert _judged(gate, _samples(1.0, 96)).verdict is Verdict.FAIL


# ---- evidence that cannot be judged


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arm", [0, 1])
def test_samples_that_are_no_numbers_are_invalid_at_once(value: float, arm: int) -> None:
    samples = _samples(0.5, 5)
    samples[arm][3, 2] = value
    judgement = judge_rounds(SpeedGate(0.95), *samples, seed=SEED)
    assert judgement is not None
    assert judgement.verdict is Verdict.INVALID
    name = ("candidate", "reference")[arm]
    assert judgement.reason.startswith(f"1 of 50 samples of the {name} are not finite numbers")


@pytest.mark.parametrize("value", [0.0, -1e-7])
def test_net_latency_that_is_not_positive_is_invalid(value: float) -> None:
    samples = _samples(0.5, 12)
    samples[0][0, 0] = value
    judgement = _judged(SpeedGate(0.95), samples)
    assert judgement.verdict is Verdict.INVALID
    assert "1 of 120 net latencies of the candidate are not positive" in judgement.reason


def test_arms_of_unequal_shape_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"\(12, 10\) and \(11, 10\)"):
        judge_rounds(SpeedGate(0.95), np.ones((12, 10)), np.ones((11, 10)), seed=SEED)


@pytest.mark.parametrize(
    ("ratio", "tick", "verdict"),
    [
        (0.90, 0.0, Verdict.PASS),
        (0.95, 0.0, Verdict.INCONCLUSIVE),
        (1.00, 0.0, Verdict.FAIL),
        (0.90, 0.01e-6, Verdict.PASS),
        (0.90, 0.5e-6, Verdict.INCONCLUSIVE),  # one tick is 5 % of the kernel
        (0.50, 0.5e-6, Verdict.PASS),
    ],
)
def test_samples_without_spread_are_known_to_one_tick(ratio: float, tick: float, verdict: Verdict) -> None:
    samples = np.full((96, 10), ratio * 10e-6), np.full((96, 10), 10e-6)
    assert _judged(SpeedGate(0.95), samples, tick_seconds=tick).verdict is verdict


# ---- the record


def test_a_judgement_with_evidence_is_plain_json() -> None:
    samples = _samples(0.9, 24)
    judgement = with_bootstrap_intervals(_judged(SpeedGate(0.95), samples), *samples, seed=SEED)
    record = json.loads(json.dumps(judgement.to_dict(), allow_nan=False))
    assert (record["verdict"], record["kind"], record["look"]) == ("PASS", "speedup", 1)
    assert record["ratio"]["method"] == "blocks-t"
    assert record["bootstrap_ratio"]["method"] == "bca"
    assert record["bootstrap_difference_seconds"]["high"] < 0


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_evidence_is_filled_in_whatever_the_verdict(quantile: float) -> None:
    samples = _samples(1.1, 12)
    judgement = _judged(SpeedGate(1.0, quantile=quantile), samples)
    assert judgement.bootstrap_difference is None  # not needed to fail
    full = with_bootstrap_intervals(judgement, *samples, seed=SEED)
    assert full.bootstrap_ratio is not None
    assert full.bootstrap_difference is not None
    assert full.bootstrap_ratio.low > 1.0
    assert full.bootstrap_difference.low > 0.0
    assert full.verdict is judgement.verdict


def test_without_a_gate_the_ratio_is_measured_until_precise() -> None:
    assert measure(*_samples(0.9, 11)) is None
    assert not precise_enough(*_samples(0.9, 11), relative_width=1.0)
    few, many = measure(*_samples(0.9, 12)), measure(*_samples(0.9, 96))
    assert few is not None
    assert many is not None
    assert many.high - many.low < few.high - few.low
    assert precise_enough(*_samples(0.9, 96), relative_width=0.01)
    assert not precise_enough(*_samples(0.9, 96), relative_width=1e-4)
