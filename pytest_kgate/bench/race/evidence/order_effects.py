"""Measure what the random order of samples failed to average out: clock steps and effects of the position. Pure.

Whatever happens within rounds hits both arms alike in the long run, since the order is random. These functions measure
by how much it did not in the rounds of one race, and judge whether that is more than the interval allows for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_kgate.device.protocol import Round
from pytest_kgate.report.format import percent
from pytest_kgate.statistics import estimates

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.timing import EffectFacts
    from pytest_kgate.report.record.facts.timing import PositionFacts

ArmOrder = NDArray[np.intp]
"""The arm of every sample of a round, in the order taken."""

Floats = NDArray[np.float64]

TOLERATED_BIAS = 0.002
"""Of a ratio. Ratios are promised within 0.3 % of the truth, and a disturbance may use up most of that, not all."""

_CLEAR = 4.0
"""Standard errors beyond which an effect of the position is taken to be there; chance alone reaches that in some
0.2 % of races of twelve rounds."""

_BEYOND_NOISE = 2.0
"""Standard errors of the ratio. Places that were drawn at random widen the interval by what they do; only places that
were not can do more than it allows for."""

_SLOW_START = 0.02
"""By how much a round's first sample may be slower than its others before the warm-up is said to be too short."""


@dataclass(frozen=True)
class Reason:
    """Why a race may not be trusted, and by how much that can have moved its ratio."""

    text: str
    too_low: float = math.inf
    """The most that the log of the ratio may read too low: what a PASS must bear."""
    too_high: float = math.inf
    """The most that it may read too high: what a FAIL must bear."""
    foreign: bool = False
    """Whether it is other work on the machine, which a user may know of and accept."""


def separated(changes: Floats, orders: Sequence[ArmOrder], ratio_se: float) -> list[Reason]:
    """A reason where steps of the SM clock within rounds may have separated the arms.

    What the clock does in every round, such as settling, meets a new random order each time, and widens the interval
    by what that leaves; it must go beyond this. What it did in a few rounds only met too few orders for that.
    """
    unusual = clock_step_bias(changes - np.median(changes), orders)
    usual = clock_step_bias(changes, orders)
    if unusual <= TOLERATED_BIAS and usual <= max(TOLERATED_BIAS, _BEYOND_NOISE * ratio_se):
        return []
    bias = max(usual, unusual)
    stepped = percent(np.abs(changes).max())
    text = f"the SM clock stepped within rounds, by up to {stepped}, and may have separated the arms by {percent(bias)}"
    return [Reason(text, bias, bias)]


def clock_step_bias(changes: Floats, orders: Sequence[ArmOrder]) -> float:
    """The most that steps of the clock can have moved the mean log ratio, had they come at one place of every round.

    A step by a fraction s after slot k changes the log ratio of a round by s times the difference of the arms' shares
    of samples behind k. Order is random, so that over rounds these differences cancel; what is left is looked for at
    all k.
    """
    total = np.zeros(max(len(order) for order in orders))
    for change, order in zip(changes, orders, strict=True):
        shares = [np.cumsum(order == arm) / max(1, int((order == arm).sum())) for arm in (0, 1)]
        total[: len(order)] += change * (shares[0] - shares[1])
    return float(np.abs(total).max()) / len(orders)


def position_effects(rounds: Sequence[Round], orders: Sequence[ArmOrder]) -> PositionFacts:
    """Whether a sample's latency depends on its place in the round.

    Per round and arm, the slope of log latency over the place, -1/2 for the first slot and 1/2 for the last, by Theil
    and Sen: a slow first sample, which no median minds, is no slope. Its mean and standard error over rounds. `bias` is
    what the slopes made of the places that the arms happened to get; to be held against `ratio_se`, the standard error
    of the mean log ratio over rounds, which random order has widened by just that. `first_sample` compares the first
    slot with the other samples of its arm: there a gap before it shows.
    """
    by_round, logs = np.stack(orders), np.log(np.stack([one.seconds for one in rounds]))
    place = np.linspace(-0.5, 0.5, by_round.shape[1])
    at = np.stack([place[np.nonzero(by_round == arm)[1]].reshape(len(rounds), -1) for arm in (0, 1)], axis=1)
    one_of, other_of = np.triu_indices(at.shape[2], 1)
    rises = logs[:, :2, other_of] - logs[:, :2, one_of]
    slopes = np.median(rises / (at[:, :, other_of] - at[:, :, one_of]), axis=2)
    places = at.mean(axis=2)
    ratios = estimates.estimate(logs[:, 0]) - estimates.estimate(logs[:, 1])
    of_first = logs[np.arange(len(rounds)), by_round[:, 0]]
    first = of_first[:, 0] - np.median(of_first[:, 1:], axis=1)
    return {
        "candidate": _effect(slopes[:, 0]),
        "reference": _effect(slopes[:, 1]),
        "bias": float((slopes.mean(axis=0) * places.mean(axis=0) * (1, -1)).sum()),
        "ratio_se": float(ratios.std(ddof=1)) / len(rounds) ** 0.5,
        "first_sample": _effect(first),
    }


def judge_position(effects: PositionFacts) -> tuple[list[Reason], list[str]]:
    """Reasons not to trust the race, and warnings, that follow from the measured effects of the position."""
    reasons, warnings = list[Reason](), []
    arms = {"candidate": effects["candidate"], "reference": effects["reference"]}
    clear = [name for name, effect in arms.items() if abs(effect["t"]) > _CLEAR]
    if clear and abs(effects["bias"]) > max(TOLERATED_BIAS, _BEYOND_NOISE * effects["ratio_se"]):
        text = (
            f"latencies of the {' and the '.join(clear)} depend on the place in the round, and the places that the "
            f"arms drew have moved the ratio by {percent(abs(effects['bias']))}"
        )
        reasons.append(Reason(text, abs(effects["bias"]), abs(effects["bias"])))
    start = effects["first_sample"]
    if start["t"] > _CLEAR and start["mean"] > _SLOW_START:
        slower = percent(np.expm1(start["mean"]))
        warnings.append(f"the first sample of a round is {slower} slower than the others: the device was not warm")
    return reasons, warnings


def _effect(values: Floats) -> EffectFacts:
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    return {"mean": mean, "t": mean / max(spread / len(values) ** 0.5, 1e-9)}
