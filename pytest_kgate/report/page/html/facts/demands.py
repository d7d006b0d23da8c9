"""What was demanded and what came of it: latency gates, limits, processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import quantile_name

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gate_facts import IntervalFacts


def figures(record: Record) -> Iterator[Figure]:
    """Tables of the gates, of the processes of each, and of the limits."""
    gates = record["gates"]
    if gates:
        head = ("gate", "bound", "ratio", "interval", "level", "bootstrap", "rounds", "p value", "rule", "verdict")
        others = (gate["reason"] for gate in gates if gate["reason"] not in ("", record["reason"]))
        reasons = " ".join(dict.fromkeys(f"{reason}." for reason in others))
        yield Figure("Gates", Table(head, [_gate(gate) for gate in gates]), caption=reasons)
    for gate in gates:
        if "processes" in gate:
            found = gate["processes"]
            each = [
                (str(place), text.ratio(number(ratio), 4), str(rounds))
                for place, (ratio, rounds) in enumerate(zip(found["ratios"], found["rounds"], strict=True), start=1)
            ]
            yield Figure("Processes", Table(("process", "ratio", "rounds"), each))
    limits = record.get("limits", [])
    if limits:
        rows = [
            (one["name"], text.limit_bound(one), text.limit_value(one), one["kernel"], one["verdict"]) for one in limits
        ]
        reasons = " ".join(f"{one['reason']}." for one in limits if one["reason"])
        yield Figure("Limits", Table(("limit", "demanded", "measured", "kernel", "verdict"), rows), caption=reasons)


def _gate(gate: GateFacts) -> tuple[str, ...]:
    found, bootstrap, p_value = gate["ratio"], gate.get("bootstrap_ratio"), gate.get("p_value")
    return (
        f"speedup {quantile_name(gate['quantile'])}".strip(),
        text.bound(gate["bound"]),
        text.ratio(number(found["estimate"]), 4) if found else "",
        _interval(found),
        f"{text.percent(found['confidence'])}, {found['method']}" if found else "",
        _interval(bootstrap),
        str(gate["rounds"]),
        "" if p_value is None else f"{number(p_value):.2g}",
        gate.get("rule", "sequential"),
        gate["verdict"],
    )


def _interval(found: IntervalFacts | None) -> str:
    return text.interval(number(found["low"]), number(found["high"]), 4) if found else ""
