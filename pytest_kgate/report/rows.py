"""Records as rows of a table, one for each gate and each kind of limit. Tables in the terminal and on pages are made of
these rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.verdicts import VERDICTS

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.timing import ArmFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import RecordVerdict
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gate_facts import IntervalFacts


@dataclass(frozen=True)
class Row:
    """One gate, the limits of one kind, or one record without gates. Names are as they can be seen, in one line."""

    path: str
    """The test's file."""
    function: str
    """The test's class and function: `TestCausal::test_wmma`."""
    parameters: str
    """The test's: `1x8x512x64-causal`; empty where it has none."""
    notes: str
    """What is unusual: a test's second call, another quantile than the middle, the classic rule, several processes, a
    rerun. `#2 p90 try 2`; mostly empty."""
    candidate: str
    """Its name."""
    problem: str
    """Its name."""
    dtype: str
    """Of the inputs: `float16`; empty where the problem names none."""
    verdict: RecordVerdict
    """Of the gate or limit; of the record, where the row stands for all of it."""
    reference: str = ""
    """Its name; empty where none was raced."""
    backend: str = ""
    """Which of several references was raced: `cudnn`; empty where there was one only."""
    candidate_seconds: float | None = None
    """Net latency of a call, at the gate's quantile of all samples; None without a race."""
    reference_seconds: float | None = None
    """The same of the reference."""
    ratio: float | None = None
    """Latency of the candidate over that of the reference; None without a race."""
    ends: tuple[float, float] | None = None
    """The ends of the ratio's interval."""
    confidence: float | None = None
    """Two-sided level of that interval: 0.95."""
    bound: float | None = None
    """What the ratio must be below; for a correctness row, the absolute tolerance."""
    error: float | None = None
    """max |candidate - exact|, of a row that is about correctness; infinite where the answer is NaN or Inf."""
    rounds: int | None = None
    """Rounds that the race had taken when the gate was judged."""
    limit: LimitFacts | None = None
    """Of a row that is about limits: the one that decides."""
    others: int = 0
    """How many more limits of that kind there are."""

    @functools.cached_property
    def decimals(self) -> int:
        """What the ratio, its interval and its bound need to look different."""
        if self.ends is None:
            return 3
        return text.decimals_for(*self.ends, *([] if self.ratio_bound is None else [self.ratio_bound]))

    @property
    def ratio_bound(self) -> float | None:
        """What the ratio must be below; None where nothing is demanded of it, or an error's tolerance alone."""
        return None if self.error is not None else self.bound

    @property
    def ratio_text(self) -> str:
        """`0.612`, or empty."""
        return "" if self.ratio is None else text.ratio(self.ratio, self.decimals)

    @property
    def interval_text(self) -> str:
        """`[0.604, 0.619]`, or empty."""
        return "" if self.ends is None else text.interval(*self.ends, self.decimals)

    @property
    def limit_text(self) -> str:
        """What was measured for a row about limits, with how many more there are: `registers 80 (+2)`; else empty."""
        if self.limit is None:
            return ""
        more = f" (+{self.others})" if self.others else ""
        return f"{self.limit['name']} {text.limit_value(self.limit)}".rstrip() + more

    @property
    def bound_text(self) -> str:
        """`0.95`; for an error `2e-03`, for a limit `<= 72`; or empty."""
        if self.limit is not None:
            return text.limit_bound(self.limit)
        if self.bound is None:
            return ""
        if self.error is None:
            return text.bound(self.bound)
        short = f"{self.bound:.0e}"
        return short if float(short) == self.bound else text.error(self.bound)


def rows_of(records: Iterable[Record]) -> list[Row]:
    """One row for each gate, in the order of the records; a record without gates has one row too.

    Behind them stands one for each kind of limit.
    """
    return [row for record in records for row in (*gate_rows(record), *_limit_rows(record))]


def gate_rows(record: Record) -> list[Row]:
    """One row for each gate, or one for a record without gates; none where limits alone were judged."""
    gates = record["gates"]
    if gates and VERDICTS[record["verdict"]].timed:
        return [_gate_row(record, gate) for gate in gates]
    correctness, verdict = record.get("correctness"), record["verdict"]
    demanded = correctness is not None and not correctness.get("default_tolerance", False)
    if any(limit["verdict"] == verdict for limit in record.get("limits", ())):  # which have rows of their own
        if correctness is None and record["timing"] is None:
            return []
        verdict = "PASS" if demanded else "MEASURED"
    if correctness is not None and (verdict == "WRONG" or (demanded and verdict == "PASS")):
        if correctness.get("by_equal"):
            return [_row(record, verdict=verdict)]
        found = number(correctness["candidate_error"])
        return [_row(record, error=found, bound=number(correctness["atol"]), verdict=verdict)]
    return [_row(record, verdict=verdict)]


def _limit_rows(record: Record) -> list[Row]:
    """One for each kind of limit: its first of the worst verdict."""
    by_kind: dict[str, list[LimitFacts]] = {}
    for limit in record.get("limits", ()):
        by_kind.setdefault(limit["kind"], []).append(limit)
    if not by_kind:
        return []
    plain = _row(record)
    return [
        Row(
            path=plain.path,
            function=plain.function,
            parameters=plain.parameters,
            notes=plain.notes,
            candidate=plain.candidate,
            problem=plain.problem,
            dtype=plain.dtype,
            verdict=worst["verdict"],
            limit=worst,
            others=len(alike) - 1,
        )
        for alike in by_kind.values()
        for worst in [min(alike, key=lambda one: VERDICTS[one["verdict"]].rank)]
    ]


def _failed_check(record: Record) -> str:
    """The check that the answer failed, unless it is the tolerance, which the row shows anyway."""
    correctness = record.get("correctness")
    failed = correctness.get("failed", "") if correctness else ""
    return "" if failed == "tolerance" else failed


def _gate_row(record: Record, gate: GateFacts) -> Row:
    return _row(
        record,
        quantile=number(gate["quantile"]),
        interval=gate["ratio"],
        bound=number(gate["bound"]),
        rounds=gate["rounds"],
        verdict=record["verdict"] if record["verdict"] == "WEAK" and gate["verdict"] == "PASS" else gate["verdict"],
        rule=gate.get("rule", "sequential"),
        processes=len(gate["processes"]["ratios"]) if "processes" in gate else 0,
    )


def _row(
    record: Record,
    *,
    quantile: float = 0.5,
    interval: IntervalFacts | None = None,
    bound: float | None = None,
    error: float | None = None,
    rounds: int | None = None,
    verdict: RecordVerdict | None = None,
    rule: str = "sequential",
    processes: int = 0,
) -> Row:
    path, function, parameters = split_test(text.visible(record["test"]))
    notes = (
        f"#{record['call'] + 1}" if record.get("call") else "",
        quantile_name(quantile),
        "classic" if rule == "classic" else "",
        f"{processes} processes" if processes else "",
        f"try {record['attempt']}" if record.get("attempt", 1) > 1 else "",
        _failed_check(record) if verdict == "WRONG" else "",
        "selftest" if "selftest" in record else "",
    )
    timing = record.get("timing")
    reference = record.get("reference")
    if timing and not interval and quantile == 0.5:
        interval = timing.get("ratio")
    seconds = [latency(timing[arm], quantile) for arm in ("candidate", "reference")] if timing else [None, None]
    estimate = interval["estimate"] if interval else _quotient(*seconds)
    return Row(
        path=path,
        function=function,
        parameters=parameters,
        notes=" ".join(part for part in notes if part),
        candidate=text.visible(record["candidate"]["name"]),
        problem=text.visible(record["problem"]["name"]),
        dtype=record["problem"].get("dtype") or "",
        reference=text.visible(reference["name"]) if reference else "",
        backend=(reference["backend"] or "") if reference else "",
        candidate_seconds=seconds[0],
        reference_seconds=seconds[1],
        ratio=None if estimate is None else number(estimate),
        ends=(number(interval["low"]), number(interval["high"])) if interval else None,
        confidence=number(interval["confidence"]) if interval else None,
        bound=bound,
        error=error,
        rounds=rounds if rounds is not None else timing["rounds"] if timing else None,
        verdict=verdict or record["verdict"],
    )


def _quotient(candidate: float | None, reference: float | None) -> float | None:
    return candidate / reference if candidate is not None and reference else None


def split_test(nodeid: str) -> tuple[str, str, str]:
    """`tests/test_a.py::test_b[c]` as file, function and parameters."""
    path, _, rest = nodeid.partition("::")
    if not rest:
        path, rest = "", path
    function, bracket, parameters = rest.partition("[")
    return path, function, parameters[:-1] if bracket and parameters.endswith("]") else parameters


def quantile_name(quantile: float | str) -> str:
    """`p90`; empty for the middle."""
    quantile = float(quantile)
    return "" if quantile == 0.5 else f"p{quantile * 100:g}"


def number(value: float | str | None) -> float:
    """A number of a record; null and "Infinity" stand for one that is not finite."""
    return float("inf") if value is None else float(value)


def size(value: float | str | None) -> float:
    """The magnitude of a number of a record, which may be complex."""
    return float("inf") if value is None else abs(complex(value))


def latency(arm: ArmFacts, quantile: float) -> float:
    """A quantile of all samples of an arm, in seconds; NaN for what is no quantile."""
    stored = {0.5: arm["median_seconds"], 0.1: arm["p10_seconds"], 0.9: arm["p90_seconds"]}
    if quantile in stored:
        return number(stored[quantile])
    if not 0 <= quantile <= 1:
        return math.nan
    import numpy as np

    return float(np.quantile(decode_samples(arm["samples"]), quantile))
