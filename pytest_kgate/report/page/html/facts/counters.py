"""What the hardware counted while the arms ran, and what that says of the candidate."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.facts.counters import MetricFacts
    from pytest_kgate.report.record.record import Record

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


def figures(record: Record) -> Iterator[Figure]:
    """Findings, what explains most first, and the counters of both arms."""
    insights = record.get("insights", [])
    if insights:
        found: list[Sequence[str]] = []
        for one in insights:
            share = one["evidence"].get("share")
            explains = "" if share is None else f"{100 * share:.0f} %"
            found.append((one["name"], explains, one["confidence"], one["finding"], one["advice"]))
        head = ("finding", "explains", "how sure", "with the numbers", "what to try")
        yield Figure("Why it is as fast as it is", Table(head, found, numbers_from=5))
    counters = record.get("counters")
    if counters is None:
        return
    arms = [one for one in (counters["candidate"], counters["reference"]) if one is not None]
    if not arms:
        yield Figure("Counters", caption=f"Not measured: {counters['reason']}")
        return
    names = list(dict.fromkeys(name for arm in arms for name in arm["metrics"]))
    units = {name: metric["unit"] for arm in arms for name, metric in arm["metrics"].items()}
    rows = [
        (name, _value(counters["candidate"], name), _value(counters["reference"], name), units[name]) for name in names
    ]
    launches = ", ".join(text.counted(arm["launch_count"], "launch") for arm in arms)
    caption = f"{counters['tool']}; {launches} of candidate and reference. `kgate metrics` says what each name means."
    yield Figure("Counters", Table(("counter", "candidate", "reference", "unit"), rows), caption=caption)


def _value(arm: ArmCounters | None, name: str) -> str:
    return _quantity(arm["metrics"][name]) if arm is not None and name in arm["metrics"] else ""


def _quantity(metric: MetricFacts) -> str:
    if metric["unit"] == "seconds":
        return text.seconds(metric["value"])
    size, letter = next((one for one in _PREFIXES if abs(metric["value"]) >= one[0]), (1, ""))
    return f"{text.quantity(metric['value'] / size, '')} {letter}".rstrip()
