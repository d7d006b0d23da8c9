"""What a candidate does over the shapes of a test: the geometric mean of its ratios, the worst, how many pass.

These are figures over shapes: a shape counts once, however long its calls take. None is mixed with percentiles over
samples of latency.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.rows import split_test

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.estimates import Interval
    from pytest_kgate.statistics.gate_facts import IntervalFacts

FEWEST = 3
"""Shapes of a grid: of two, their rows say as much."""


@dataclass(frozen=True)
class OnShape:
    """What became of one gate on one shape."""

    shape: str
    """`1x8x512x64-causal`."""
    ratio: Interval | None
    """Of the latencies; None where it was not measured, or is not to be trusted."""
    passed: bool


@dataclass(frozen=True)
class Grid:
    """One gate of one candidate over the shapes of one test; without gates, what was measured."""

    test: str
    """The test without its shape: `tests/test_mine.py::test_mine[mma]`."""
    candidate: str
    gate: str
    """`ratio below 0.95`, `p90 ratio below 1.00`; empty where nothing is demanded."""
    shapes: tuple[OnShape, ...]

    @property
    def function(self) -> str:
        """The test without its file."""
        return text.visible(self.test.rpartition("::")[2])

    @property
    def measured(self) -> tuple[OnShape, ...]:
        """The shapes that have a ratio."""
        return tuple(one for one in self.shapes if one.ratio is not None)

    @property
    def mean(self) -> Interval | None:
        """The geometric mean of the ratios, with its interval; None where no shape has one."""
        from pytest_kgate.statistics.intervals.geometric_mean import geometric_mean

        found = [one.ratio for one in self.shapes if one.ratio is not None]
        return geometric_mean(found) if found else None

    @property
    def worst(self) -> OnShape | None:
        """The shape with the largest ratio."""
        return max(self.measured, key=lambda one: one.ratio.estimate if one.ratio else 0.0, default=None)

    @property
    def line(self) -> str:
        """The whole grid in a sentence."""
        total, measured, mean, worst = len(self.shapes), len(self.measured), self.mean, self.worst
        passed = sum(one.passed for one in self.shapes)
        gate = f"{self.gate}: {passed} of {total} shapes pass" if self.gate else f"{total} shapes"
        if mean is None or worst is None or worst.ratio is None:
            return f"grid {self.function}, {gate}; none was timed"
        decimals = text.decimals_for(mean.low, mean.high)
        of = "" if measured == total else f" (over the {measured} that have a ratio)"
        return (
            f"grid {self.function}, {gate}; geometric mean {text.ratio(mean.estimate, decimals)} "
            f"{text.interval(mean.low, mean.high, decimals)}{of}, worst {text.ratio(worst.ratio.estimate, decimals)} "
            f"on {worst.shape}"
        )


def grids_of(records: Iterable[Record]) -> list[Grid]:
    """The grids of these records, in their order: three shapes or more of one test, candidate and gate."""
    found: dict[tuple[object, ...], dict[str, OnShape]] = {}
    for record in records:
        shape = _shape(record)
        if shape is None or "selftest" in record:
            continue
        test = _without(record["test"], shape)
        name, dtype = record["candidate"]["name"], record["problem"].get("dtype")
        trusted = VERDICTS[record["verdict"]].timed and record["verdict"] != "INVALID"
        gates = record["gates"]
        for gate in gates:
            demand = f"{quantile_name(gate['quantile'])} ratio below {text.bound(gate['bound'])}".strip()
            passed = gate["verdict"] == "PASS" and record["verdict"] != "WEAK"
            one = OnShape(shape, _interval(gate["ratio"]) if trusted else None, passed)
            found.setdefault((test, record["call"], name, dtype, demand), {})[shape] = one
        if not gates:
            timing = record.get("timing")
            ratio = _interval(timing.get("ratio")) if timing and trusted else None
            found.setdefault((test, record["call"], name, dtype, ""), {})[shape] = OnShape(shape, ratio, False)
    return [
        Grid(str(test), str(name), str(demand), tuple(shapes.values()))
        for (test, _, name, _, demand), shapes in _with_unraced(found)
        if len(shapes) >= FEWEST
    ]


def _with_unraced(
    found: dict[tuple[object, ...], dict[str, OnShape]],
) -> Sequence[tuple[tuple[object, ...], dict[str, OnShape]]]:
    """A shape without a race has no gates in its record: it counts in those of its test's other shapes."""
    whole = []
    gated = {key[:-1] for key in found if key[-1]}
    for key, shapes in found.items():
        *test, demand = key
        if demand:
            shapes = {**shapes, **{one: what for one, what in found.get((*test, ""), {}).items() if one not in shapes}}
        if demand or tuple(test) not in gated:
            whole.append((key, shapes))
    return whole


def _interval(facts: IntervalFacts | None) -> Interval | None:
    from pytest_kgate.statistics.estimates import Interval

    if facts is None:
        return None
    low, estimate, high = (number(facts[end]) for end in ("low", "estimate", "high"))
    return Interval(low, estimate, high, number(facts["confidence"]), facts["method"]) if 0 < low <= high else None


def _shape(record: Record) -> str | None:
    """The shape as the test's id has it: `1x8x512x64-causal`; None where it is not among the test's parameters."""
    extents = record["problem"]["shape"]
    if not extents:
        return None
    start = "x".join(str(extent) for extent in extents)
    parameters = split_test(record["test"])[2]
    return next((one for one in record["problem"]["name"].split() if one.startswith(start) and one in parameters), None)


def _without(nodeid: str, shape: str) -> str:
    """`test_mine[mma-1x8x512x64]` as `test_mine[mma]`, with its file."""
    path, function, parameters = split_test(nodeid)
    rest = "-".join(part for part in parameters.replace(shape, "-").split("-") if part)
    return f"{path}::{function}[{rest}]" if rest else f"{path}::{function}"
