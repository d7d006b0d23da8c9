"""The rates that a device was seen to attain, and the least latency that a problem has by them: a measured roofline.

They are what a large matrix product and a copy reached here, and a gate demands a share of that. The bound on what no
hardware can do, `integrity/roofline.py`, is made of data sheets and finds times that can't be: the one never takes the
place of the other. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

TF32 = "float32 (TF32)"
"""The name of float32 whose products are rounded to TF32, as `torch.set_float32_matmul_precision("high")` lets them."""


@dataclass(frozen=True)
class Rate:
    """One rate, of the fastest of a few rounds: what else the machine does only makes a round slower."""

    per_second: float
    """Operations (a multiply-add counts as two), or bytes, read and written ones together."""
    spread: float
    """By how much the slowest round was below it, as a fraction."""
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

    def operations_of(self, dtype: str | None, tf32: bool) -> tuple[str, Rate] | None:
        """The rate for elements of this type, with its name; None where there is none."""
        name = TF32 if dtype == "float32" and tf32 and TF32 in self.operations else str(dtype)
        if name.startswith("float8") and name not in self.operations:
            name = next((known for known in self.operations if known.startswith("float8")), name)
        rate = self.operations.get(name)
        return None if rate is None else (name, rate)

    def bytes_per_second(self, count: float, cache: str) -> float:
        """How fast a copy moves so many bytes; with a cold cache, in and out of the device's memory.

        With a hot one, a copy of that size: what is between two measured ones is interpolated in the logarithms. A
        smaller copy counts as no slower than a larger one: that it lasts too short for its launch is no matter of
        memory.
        """
        if cache == "cold":
            return self.copies[-1].per_second
        least, fastest = list[float](), 0.0
        for one in reversed(self.copies):
            fastest = max(fastest, one.per_second)
            least.insert(0, fastest)
        return _interpolated(count, [one.size for one in self.copies], least)


@dataclass(frozen=True)
class MeasuredFloor:
    """The least latency of one call by the measured rates, and what sets it."""

    seconds: float
    set_by: str
    """`flops` or `bytes`: whichever takes longer."""
    demand: str
    """As text: `1.1e+12 FLOPs at 7.1e+14 a second (float16)`."""
    from_cache: bool
    """Whether bytes set it at a rate that is above that of the device's memory."""
    left_out: str
    """What the problem says, or does not say, that does not count, as a clause; empty where all counts."""


def floor_of(problem: Problem, rates: MeasuredRates, cache: str, tf32: bool) -> MeasuredFloor | str:
    """The larger of FLOPs over their rate and bytes over theirs; why there is none, in a sentence, where neither is."""
    found = list[tuple[float, str, str, bool]]()
    left_out = ""
    if problem.flops:
        known = rates.operations_of(problem.dtype, tf32)
        if known is None:
            left_out = _without_rate(problem, rates)
        else:
            name, rate = known
            text = f"{problem.flops:.3g} FLOPs at {rate.per_second:.3g} a second ({name})"
            found.append((problem.flops / rate.per_second, "flops", text, False))
    if problem.bytes:
        speed, memory = rates.bytes_per_second(problem.bytes, cache), rates.copies[-1].per_second
        cached = speed > memory
        text = f"{problem.bytes:.3g} bytes at {speed:.3g} a second ({'hot cache' if cached else 'memory'})"
        found.append((problem.bytes / speed, "bytes", text, cached))
    if not found:
        missing = left_out or f"{problem.name} says neither its FLOPs nor its bytes"
        return f"{missing}: give Problem(flops=..., bytes=...), what one call computes and must move"
    seconds, set_by, text, cached = max(found)
    return MeasuredFloor(seconds, set_by, text, cached and set_by == "bytes", left_out)


def _without_rate(problem: Problem, rates: MeasuredRates) -> str:
    if problem.dtype is None:
        return f"the FLOPs of {problem.name} are of no type (Problem(dtype=...) says it)"
    why = rates.refused.get(problem.dtype)
    return f"there is no rate of {problem.dtype} here" + (f" ({why})" if why else "")


def _interpolated(at: float, places: Sequence[int], values: Sequence[float]) -> float:
    if at <= places[0]:
        return values[0]
    for index in range(1, len(places)):
        if at <= places[index]:
            low, high = places[index - 1], places[index]
            share = math.log(at / low) / math.log(high / low)
            return math.exp((1 - share) * math.log(values[index - 1]) + share * math.log(values[index]))
    return values[-1]
