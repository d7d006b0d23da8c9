"""Records as lines of a table, one for each gate: the one place that picks the shown numbers out of the layout."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.samples import decode_samples


@dataclass(frozen=True)
class Row:
    """One gate, or one record without gates."""

    path: str
    """The test's file."""
    function: str
    """The test's class and function: `TestCausal::test_wmma`."""
    parameters: str
    """The test's: `1x8x512x64-causal`; empty where it has none."""
    notes: str
    """A second call's number, the gate's quantile, rule, processes, the test's rerun: `#2 p90 try 2`; mostly empty."""
    candidate: str
    problem: str
    dtype: str
    reference: str
    """Its name."""
    backend: str
    """Which of several references it was; empty for a single one."""
    candidate_seconds: float | None
    """The gate's quantile of all samples, net."""
    reference_seconds: float | None
    ratio: float | None
    ends: tuple[float, float] | None
    """Of the ratio's interval."""
    confidence: float | None
    bound: float | None
    """Of the ratio; for a correctness row, the absolute tolerance."""
    error: float | None
    """max |candidate - exact|, of a row that is about correctness; infinite where the answer is NaN or Inf."""
    rounds: int | None
    verdict: str

    @property
    def decimals(self) -> int:
        """What the ratio, its interval and its bound need to look different."""
        if self.ends is None:
            return 3
        return text.decimals_for(*self.ends, *([] if self.bound is None else [self.bound]))

    @property
    def ratio_text(self) -> str:
        """`0.612`, or empty."""
        return "" if self.ratio is None else text.ratio(self.ratio, self.decimals)

    @property
    def interval_text(self) -> str:
        """`[0.604, 0.619]`, or empty."""
        return "" if self.ends is None else text.interval(*self.ends, self.decimals)

    @property
    def bound_text(self) -> str:
        """`0.95`; for an error `2e-03`; or empty."""
        if self.bound is None:
            return ""
        if self.error is None:
            return text.bound(self.bound)
        short = f"{self.bound:.0e}"
        return short if float(short) == self.bound else text.error(self.bound)


def rows_of(records: Iterable[Record]) -> list[Row]:
    """One row for each gate, in the order of the records; a record without gates has one row too."""
    return [row for record in records for row in _rows(record)]


def _rows(record: Record) -> list[Row]:
    gates = record["gates"]
    if gates and record["verdict"] not in ("WRONG", "ERROR"):
        return [_gate_row(record, gate) for gate in gates]
    correctness = record.get("correctness")
    demanded = correctness is not None and not correctness.get("default_tolerance", False)
    if correctness is not None and (record["verdict"] == "WRONG" or (demanded and record["verdict"] == "PASS")):
        return [_row(record, error=number(correctness["candidate_error"]), bound=float(correctness["atol"]))]
    return [_row(record)]


def _failed_check(record: Record) -> str:
    """Which check found the error, where it is not the tolerance that the row shows."""
    failed = str((record.get("correctness") or {}).get("failed", ""))
    return "" if failed in ("", "tolerance") else failed


def _gate_row(record: Record, gate: Mapping[str, Any]) -> Row:
    found = gate.get("ratio")
    return _row(
        record,
        quantile=float(gate["quantile"]),
        interval=found,
        bound=float(gate["bound"]),
        rounds=int(gate["rounds"]),
        verdict=str(gate["verdict"]),
        rule=str(gate.get("rule", "sequential")),
        processes=len((gate.get("processes") or {}).get("ratios", ())),
    )


def _row(
    record: Record,
    *,
    quantile: float = 0.5,
    interval: Mapping[str, Any] | None = None,
    bound: float | None = None,
    error: float | None = None,
    rounds: int | None = None,
    verdict: str | None = None,
    rule: str = "sequential",
    processes: int = 0,
) -> Row:
    path, function, parameters = split_test(record["test"])
    notes = (
        f"#{record['call'] + 1}" if record.get("call") else "",
        quantile_name(quantile),
        "classic" if rule == "classic" else "",
        f"{processes} processes" if processes else "",
        f"try {record['attempt']}" if record.get("attempt", 1) > 1 else "",
        _failed_check(record) if error is not None else "",
        "selftest" if "selftest" in record else "",
    )
    timing = record.get("timing") or {}
    reference = record.get("reference") or {}
    interval = interval or timing.get("ratio")
    estimate = interval["estimate"] if interval else timing.get("ratio_of_medians")
    return Row(
        path=path,
        function=function,
        parameters=parameters,
        notes=" ".join(part for part in notes if part),
        candidate=record["candidate"]["name"],
        problem=record["problem"]["name"],
        dtype=record["problem"].get("dtype") or "",
        reference=reference.get("name") or "",
        backend=reference.get("backend") or "",
        candidate_seconds=latency(timing.get("candidate"), quantile),
        reference_seconds=latency(timing.get("reference"), quantile),
        ratio=None if estimate is None else number(estimate),
        ends=(number(interval["low"]), number(interval["high"])) if interval else None,
        confidence=number(interval["confidence"]) if interval else None,
        bound=bound,
        error=error,
        rounds=rounds if rounds is not None else timing.get("rounds"),
        verdict=verdict or record["verdict"],
    )


def split_test(nodeid: str) -> tuple[str, str, str]:
    """`tests/test_a.py::test_b[c]` as file, function and parameters."""
    path, _, rest = nodeid.partition("::")
    if not rest:
        path, rest = "", path
    function, bracket, parameters = rest.partition("[")
    return path, function, parameters[:-1] if bracket and parameters.endswith("]") else parameters


def quantile_name(quantile: float) -> str:
    """`p90`; empty for the middle."""
    return "" if quantile == 0.5 else f"p{quantile * 100:g}"


def number(value: Any) -> float:
    """A number of a record; None and "Infinity" stand for one that is not finite."""
    return float("inf") if value is None else float(value)


def latency(arm: Mapping[str, Any] | None, quantile: float) -> float | None:
    """A quantile of all samples of an arm, in seconds."""
    if arm is None:
        return None
    stored = {0.5: "median_seconds", 0.1: "p10_seconds", 0.9: "p90_seconds"}.get(quantile)
    if stored:
        return number(arm[stored])
    import numpy as np

    return float(np.quantile(decode_samples(arm["samples"]), quantile))
