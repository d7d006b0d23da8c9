"""An offset that lasts a whole race, as between two processes: its spread is a part of the interval."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pytest_kgate.integrity.isolation.relaunch.stopwatch import RelaunchStopwatch
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge import measure
from pytest_kgate.statistics.judge import precise_enough

RECORDS = Path(__file__).parents[2] / "benchmarks" / "h100"
SEED = 7


def _race(rng: np.random.Generator, offset: float, rounds: int = 96) -> tuple[np.ndarray, np.ndarray]:
    candidate, reference = 1e-5 * np.exp(0.005 * rng.standard_normal((2, rounds, 10)))
    return candidate * np.exp(offset), reference


def _verdicts(sd: float, told: float, gates: int) -> Counter[Verdict]:
    rng = np.random.default_rng(SEED)
    found: Counter[Verdict] = Counter()
    for _ in range(gates):
        race = _race(rng, sd * rng.standard_normal())
        judgement = judge_rounds(SpeedGate(1.0), *race, seed=SEED, final=True, offset_sd=told)
        assert judgement is not None
        found[judgement.verdict] += 1
    return found


def test_gates_err_no_more_often_than_promised_where_the_offset_is_known() -> None:
    kept = _verdicts(0.002, 0.002, 300)
    assert kept[Verdict.PASS] <= 15  # 7.5 are allowed to be expected; the chance of more is below 0.5 %
    assert kept[Verdict.FAIL] <= 15
    assert _verdicts(0.002, 0.0, 100)[Verdict.PASS] > 15


def test_interval_has_the_offset_and_precision_has_not() -> None:
    race = _race(np.random.default_rng(SEED), 0.0)
    plain, wider = measure(*race), measure(*race, offset_sd=0.01)
    assert plain is not None
    assert wider is not None
    assert np.log(wider.high / wider.low) / 2 > 0.02 > np.log(plain.high / plain.low)
    assert precise_enough(*race)


def test_gate_that_an_offset_keeps_undecided_is_not_told_to_take_more_rounds() -> None:
    race = _race(np.random.default_rng(SEED), -0.003, rounds=24)
    judgement = judge_rounds(SpeedGate(1.0), *race, seed=SEED, final=True, offset_sd=0.0025)
    assert judgement is not None
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "two processes may differ" in judgement.reason
    assert judgement.rounds_to_decide is None


@pytest.mark.parametrize(
    ("record", "races", "decided"),
    [
        ("isolated-against-itself", 24, 0),
        ("isolated-rungs-against-themselves", 60, 2),
        ("isolated-mma-against-itself", 8, 0),
    ],
)
def test_isolated_races_of_a_kernel_against_itself_are_ties(record: str, races: int, decided: int) -> None:
    """As they were raced on three H100: with no offset in the rule, half of them were decided.

    Each side may err in 2.5 %; `decided` is twice that of so many races, rounded down.
    """
    verdicts = {told: _judged_again(RECORDS / f"{record}-2026-11-27.json", told) for told in (0.0, None)}
    assert sum(verdicts[None].values()) == races
    assert races - verdicts[None][Verdict.INCONCLUSIVE] <= decided, verdicts
    assert races - verdicts[0.0][Verdict.INCONCLUSIVE] > races / 4, verdicts


def _judged_again(record: Path, told: float | None) -> Counter[Verdict]:
    """The verdicts at a bound of 1; `told` is the offset's standard deviation, None for what the stopwatch says."""
    offset_sd = RelaunchStopwatch.offset_sd if told is None else told
    found: Counter[Verdict] = Counter()
    for timing in (one["timing"] for one in load(record)):
        samples = [decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference")]
        judgement = judge_rounds(SpeedGate(1.0), *samples, seed=SEED, final=True, offset_sd=offset_sd)
        assert judgement is not None
        found[judgement.verdict] += 1
    return found


@pytest.mark.parametrize("offset_sd", [0.0, 0.0025])
def test_clear_case_is_decided_at_the_first_look(offset_sd: float) -> None:
    race = _race(np.random.default_rng(SEED), -0.06, rounds=12)
    judgement = judge_rounds(SpeedGate(0.97), *race, seed=SEED, offset_sd=offset_sd)
    assert judgement is not None
    assert judgement.verdict is Verdict.PASS
