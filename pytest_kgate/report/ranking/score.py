"""One number for a search that wants one: the speedup, a little for a busy GPU, less what will hurt on other problems.

It is no evidence. What is proven is the speedup's interval; the score may turn that order round, and then it is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.report.ranking.variants import Variant

_FREE_REGISTERS = 128
"""Of a thread. With 64 K registers a multiprocessor then holds 16 warps, four a scheduler."""


@dataclass(frozen=True)
class Weight:
    """One part of the score."""

    name: str
    """Of the part."""
    points: float
    """For one of it."""
    value: Callable[[Variant], float | None]
    """How much of it a variant has; None where that was not measured."""
    reason: str
    """Why so many points."""


def _speedup(variant: Variant) -> float | None:
    return None if variant.speedup is None else math.exp(variant.speedup.mean)


def _registers(variant: Variant) -> float | None:
    return None if variant.registers is None else max(0.0, variant.registers - _FREE_REGISTERS)


WEIGHTS = (
    Weight("speedup", 1000.0, _speedup, "what it is about: 1 % of the reference's speed is 10 points"),
    Weight("tensor %", 2.0, lambda v: v.metrics.get("tensor"), "busy tensor cores stay busy on larger problems"),
    Weight("SM %", 1.0, lambda v: v.metrics.get("sm"), "busy multiprocessors do, too, if less surely"),
    Weight("barriers a warp", -1.0, lambda v: v.metrics.get("barriers"), "at each, warps wait for the slowest one"),
    Weight("registers above 128", -1.0, _registers, "fewer warps fit: half as many at 255, which costs 127 points"),
    Weight("spilled bytes", -1.0, lambda v: v.spill_bytes, "each is stored and loaded again, by every thread"),
)
"""All there is to the score. The points of the last three are about what they cost in percent of speed, times ten."""


@dataclass(frozen=True)
class Score:
    """The score of one variant."""

    points: float
    parts: tuple[str, ...]
    """Names of what it is made of: what was not measured is left out."""


def score_of(variant: Variant) -> Score | None:
    """The score of a variant, over what is known of it; None where its speedup is not."""
    known = {weight.name: weight.points * value for weight in WEIGHTS if (value := weight.value(variant)) is not None}
    if WEIGHTS[0].name not in known:
        return None
    return Score(math.fsum(known.values()), tuple(known))


def missing_parts(score: Score) -> tuple[str, ...]:
    """The parts of the score that a variant lacks."""
    return tuple(weight.name for weight in WEIGHTS if weight.name not in score.parts)
