"""The rates that a device was seen to attain, and the least latency that a problem has by them: a measured roofline.

They are what a large matrix product and a copy reached here, and a gate demands a share of that. The bound on what no
hardware can do, `integrity/roofline.py`, is made of data sheets and finds times that can't be: the one never takes the
place of the other. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

TF32 = "float32 (TF32)"
"""The name of float32 whose products are rounded to TF32, as `torch.set_float32_matmul_precision("high")` lets them."""

GIVE_BOTH = ": give Problem(flops=..., bytes=...), what one call computes and must move"
GIVE_BYTES = ": give Problem(bytes=...), what one call must move, or another dtype"


@dataclass(frozen=True)
class Rate:
    """A rate that a device attained: the median of a few rounds."""

    per_second: float
    """Operations (a multiply-add counts as two), or bytes, read and written ones together."""
    spread: float
    """How far the middle half of the rounds reaches, as a share of their median."""
    size: int
    """Rows of the square matrices, or bytes of both arrays of a copy."""


@dataclass(frozen=True)
class MeasuredRates:
    """All rates of one device, measured together."""

    identity: Mapping[str, Any]
    """What they hold for: the device, its driver, its power limit, PyTorch; `kept.identity_of` makes it."""
    date: str
    """ISO 8601, of the end of the measurement."""
    seconds: float
    """That it took."""
    operations: Mapping[str, Rate]
    """By the elements' type, as torch names it, and `TF32`."""
    refused: Mapping[str, str]
    """Why there is no rate of a type."""
    copies: tuple[Rate, ...]
    """By ascending size; the last one is far larger than the caches."""
    disturbed: str = ""
    """What else was at work when they were measured, so that they may be too low, as a clause; empty where nothing."""

    def operations_of(self, dtype: str | None, tf32: bool) -> tuple[str, Rate] | None:
        """The rate for elements of this type, with its name; None where there is none."""
        name = TF32 if dtype == "float32" and tf32 and TF32 in self.operations else str(dtype)
        if name.startswith("float8") and name not in self.operations:
            name = next((known for known in self.operations if known.startswith("float8")), name)
        rate = self.operations.get(name)
        return None if rate is None else (name, rate)

    def moving(self, count: float, cache: str) -> Rate:
        """The rate of a copy of so many bytes; with a cold cache, in and out of the device's memory.

        With a hot one, what is between two measured sizes is interpolated in the logarithms. A smaller copy counts as
        no slower than a larger one: that it lasts too short for its launch is no matter of memory.
        """
        if cache == "cold":
            return self.copies[-1]
        no_slower: list[Rate] = []
        for one in reversed(self.copies):
            faster = no_slower and no_slower[0].per_second > one.per_second
            no_slower.insert(0, replace(no_slower[0], size=one.size) if faster else one)
        return _interpolated(count, no_slower)


@dataclass(frozen=True)
class MeasuredFloor:
    """The least latency of one call by the measured rates, and what sets it."""

    seconds: float
    set_by: Literal["flops", "bytes"]
    """`flops` or `bytes`: whichever takes longer."""
    demand: str
    """As text: `1.1e+12 FLOPs at 7.1e+14 a second (float16)`."""
    from_cache: bool
    """Whether bytes set it at a rate that is above that of the device's memory."""
    spread: float
    """Of the rate that sets it: how far the middle half of its rounds reaches, as a share of their median."""
    left_out: str
    """What the problem says, or does not say, that does not count, as a clause; empty where all counts."""


def floor_of(problem: Problem, rates: MeasuredRates, cache: str, tf32: bool) -> MeasuredFloor | str:
    """The larger of FLOPs over their rate and bytes over theirs; why there is none, in a sentence, where neither is."""
    found: list[MeasuredFloor] = []
    left_out = ""
    if problem.flops:
        known = rates.operations_of(problem.dtype, tf32)
        if known is None:
            left_out = _without_rate(problem, rates)
        else:
            name, rate = known
            demand = f"{problem.flops:.3g} FLOPs at {rate.per_second:.3g} a second ({name})"
            found.append(MeasuredFloor(problem.flops / rate.per_second, "flops", demand, False, rate.spread, ""))
    if problem.bytes:
        rate = rates.moving(problem.bytes, cache)
        cached = rate.per_second > rates.copies[-1].per_second
        demand = f"{problem.bytes:.3g} bytes at {rate.per_second:.3g} a second ({'hot cache' if cached else 'memory'})"
        found.append(MeasuredFloor(problem.bytes / rate.per_second, "bytes", demand, cached, rate.spread, left_out))
    if not found:
        return (
            f"{left_out}{GIVE_BYTES}" if left_out else f"{problem.name} says neither its FLOPs nor its bytes{GIVE_BOTH}"
        )
    return max(found, key=lambda one: one.seconds)


def _without_rate(problem: Problem, rates: MeasuredRates) -> str:
    if problem.dtype is None:
        return f"the FLOPs of {problem.name} are of no type (Problem(dtype=...) says it)"
    why = rates.refused.get(problem.dtype)
    return f"there is no rate of {problem.dtype} here" + (f" ({why})" if why else "")


def _interpolated(count: float, copies: Sequence[Rate]) -> Rate:
    if count <= copies[0].size:
        return copies[0]
    for smaller, larger in itertools.pairwise(copies):
        if count <= larger.size:
            share = math.log(count / smaller.size) / math.log(larger.size / smaller.size)
            log = (1 - share) * math.log(smaller.per_second) + share * math.log(larger.per_second)
            return Rate(math.exp(log), max(smaller.spread, larger.spread), round(count))
    return copies[-1]
