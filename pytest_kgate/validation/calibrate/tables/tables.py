"""A calibration as tables of text, which `show.py` renders for a terminal or as Markdown: all formatting is here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.format import counted
from pytest_kgate.validation.calibrate.cases import UNAVAILABLE
from pytest_kgate.validation.calibrate.findings.error_rates import Count
from pytest_kgate.validation.calibrate.findings.findings import Accuracy
from pytest_kgate.validation.calibrate.findings.findings import CaseSummary
from pytest_kgate.validation.calibrate.findings.findings import Findings


@dataclass(frozen=True)
class Table:
    """A table whose cells are text; the first column is aligned left, the others right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    least: int = 0
    """How many columns, from the left, must stay where there is no room; 0 for all."""


def same_table(findings: Findings) -> Table:
    """Kernels raced against themselves, with all of them together in the last line."""
    head = (
        "equal kernels",
        "gates",
        "PASS",
        "FAIL",
        "latency",
        "ratio",
        "noise floor",
        "resolved",
        "s a gate",
        "broken",
    )
    rows = [_same(one) for one in findings.same]
    if len(rows) > 1:
        both = findings.overall
        rows.append(("all", str(both.gates), *_rates(both), "", "", "", "", "", _broken(both)))
    return _without_empty(Table(head, tuple(rows), least=4))


def _same(one: CaseSummary) -> tuple[str, ...]:
    return (
        one.case.name.removeprefix("aa-"),
        str(one.count.gates),
        *_rates(one.count),
        "" if one.reference_seconds is None else text.seconds(one.reference_seconds),
        "" if one.ratio is None else f"{one.ratio:.5f}",
        _percent(one.half_width),
        _percent(one.resolved),
        f"{one.seconds:.2f}",
        _broken(one.count),
    )


def accuracy_table(findings: Findings) -> Table:
    """Kernels of known ratio: readings against the truth, and the verdicts at the bound."""
    head = ("known ratio", "truth", "measured", "error", "+-", "cand. bias", "ref. bias", "gates", "PASS", "FAIL")
    rows = [_accuracy(one) for one in findings.accuracy]
    return Table(head, tuple(rows), least=4)


def _accuracy(one: Accuracy) -> tuple[str, ...]:
    return (
        one.case.name.removeprefix("truth-"),
        f"{one.truth:.4f}",
        f"{one.measured:.4f}",
        f"{one.error * 100:+.2f} %{'' if one.accurate else ' !'}",
        f"{1.96 * one.standard_error * 100:.2f} %",
        text.seconds(one.candidate_bias_seconds, signed=True),
        text.seconds(one.reference_bias_seconds, signed=True),
        str(one.count.gates),
        str(one.count.passed),
        str(one.count.failed),
    )


def instruments_line(findings: Findings) -> str:
    """A line on the measured launch floors, on which the true ratios rest; empty where no case has a known ratio."""
    if not findings.accuracy:
        return ""
    floor = statistics.median(one.floor_seconds for one in findings.accuracy)
    null = statistics.median(one.null_seconds for one in findings.accuracy)
    clock = statistics.median(one.clock_hz for one in findings.accuracy)
    return (
        f"the timer reads {text.seconds(floor)} beyond a spin's cycles and {text.seconds(null)} of an empty kernel; "
        f"SM clock {clock / 1e6:.0f} MHz"
    )


def comparison_table(lines: Iterable[Mapping[str, Any]]) -> Table:
    """The rules side by side: how often each passed a gate that it should not have, and how long a gate took."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault((str(line["case"]), str(line["recipe"])), []).append(line)
    order = ("usual", "do_bench", "kgate")
    rows = []
    for (case, recipe), every in sorted(groups.items(), key=lambda item: (item[0][0], order.index(item[0][1]))):
        own = [line for line in every if line["passed"] is not None]
        if not own:
            continue
        passed = sum(bool(line["passed"]) for line in own)
        ratios = [float(line["ratio"]) for line in own if line.get("ratio") is not None]
        rows.append(
            (
                case.removeprefix("aa-"),
                recipe,
                text.bound(float(own[0]["bound"])),
                str(len(own)),
                f"{passed} ({text.percent(passed / len(own))})",
                f"{statistics.median(ratios):.4f}" if ratios else "",
                f"{statistics.median(float(line['seconds']) for line in own):.2f}",
            )
        )
    return Table(("equal kernels", "recipe", "bound", "gates", "false PASS", "ratio", "s a gate"), tuple(rows))


def conditions(setting: Mapping[str, Any], processes: Sequence[Mapping[str, Any]]) -> str:
    """One line on the device, timer, budget and dates of a calibration."""
    environments = [process["environment"] for process in processes]
    if not environments:
        return "no process has run"
    first = environments[0]
    gpu, cpu = first.get("gpu") or {}, first.get("cpu") or {}
    uuids = {(environment.get("gpu") or {}).get("uuid") for environment in environments} - {None}
    days = sorted({str(process["started"])[:10] for process in processes})
    facts = [
        gpu.get("name") or cpu.get("model") or str(first.get("device")),
        f"{len(uuids)} of them" if len(uuids) > 1 else "",
        _each("driver", ((environment.get("gpu") or {}).get("driver") for environment in environments)),
        _each("PyTorch", ((environment.get("packages") or {}).get("torch") for environment in environments)),
        f"{setting['timer']} timer",
        f"{setting['cache']} cache",
        counted(len(environments), "process"),
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
    ]
    return ", ".join(fact for fact in facts if fact)


def unavailable_lines(gates: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which cases can't be raced on this device, and why."""
    found = {str(gate["case"]): str(gate["reason"]) for gate in gates if gate["verdict"] == UNAVAILABLE}
    return [f"{case} can't run here: {' '.join(reason.split())}".rstrip(".") for case, reason in found.items()]


def _each(name: str, values: Iterable[Any]) -> str:
    found = sorted({str(value) for value in values if value})
    return f"{name} {'/'.join(found)}" if found else ""


def _rates(count: Count) -> tuple[str, str]:
    def rate(false: int) -> str:
        return f"{false} ({false / count.judged * 100:.1f} %)" if count.judged else "-"

    return rate(count.passed), rate(count.failed)


def _broken(count: Count) -> str:
    return str(count.broken) if count.broken else ""


def _percent(value: float | None) -> str:
    return "" if value is None else text.percent(value)


def _without_empty(table: Table) -> Table:
    kept = [index for index in range(len(table.head)) if any(row[index] for row in table.rows)]
    return Table(
        tuple(table.head[index] for index in kept),
        tuple(tuple(row[index] for index in kept) for row in table.rows),
        table.least,
    )
