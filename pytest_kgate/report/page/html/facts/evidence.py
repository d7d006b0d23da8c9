"""Whether the race can be trusted: clocks, throttling, other processes, order of samples, second tries."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.protocol import THROTTLING
from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures import clock
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.rows import number
from pytest_kgate.statistics.wording import significant

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.timing import EvidenceFacts
    from pytest_kgate.report.record.facts.timing import MachineFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.report.record.record import Record


def figures(record: Record) -> Iterator[Figure]:
    """The clock as a drawing, the tries where there were two, and the rest as one table."""
    timing = record["timing"]
    if timing is not None:
        evidence = timing.get("evidence") or {}
        open_keys: dict[str, Any] = dict(evidence)
        drawn = clock.figure([number(one) for one in open_keys.get("sm_clock_hz", ())])
        if drawn is not None:
            yield drawn
        yield Figure("Evidence", Table(("what", "found"), list(_rows(timing, evidence)), numbers_from=2))
        tries = evidence.get("tries", [])
        if any(one["reasons"] for one in tries):
            rows = [
                (str(place), str(one.get("rounds", "")), ", ".join(one.get("verdicts", [])), "; ".join(one["reasons"]))
                for place, one in enumerate(tries, start=1)
            ]
            yield Figure("Tries", Table(("try", "rounds", "verdicts", "what disturbed it"), rows, numbers_from=4))
    integrity = record.get("integrity")
    if integrity and integrity["checks"]:
        checks = [*integrity["checks"].items(), *((one["check"], one["reason"]) for one in integrity["findings"])]
        yield Figure("What it does beside its answer", Table(("check", "found"), checks, numbers_from=2))


def _rows(timing: TimingFacts, evidence: EvidenceFacts) -> Iterator[tuple[str, str]]:
    yield "timer, cache", f"{timing['timer']}, {timing['cache']}"
    spent = f"{text.counted(timing['rounds'], 'round')} of {text.counted(timing['samples_per_round'], 'sample')}"
    yield "race", f"{spent}; {significant(timing['seconds_spent'], 2)} s of {number(timing['budget_seconds']):g} s"
    overhead = timing["overhead_seconds"]
    taken_off = (
        f"{arm} {text.seconds(number(value))}" for arm, value in overhead.items() if isinstance(value, (float, str))
    )
    yield "taken off each sample", ", ".join(taken_off)
    yield (
        "samples far from their round",
        f"candidate {timing['outliers']['candidate']}, reference {timing['outliers']['reference']}",
    )
    yield "samples taken again", str(timing["retaken"])
    yield from _machine(evidence.get("machine", []))
    if "clock_step_bias" in evidence:
        yield "clock steps moved the ratio by at most", text.percent(evidence["clock_step_bias"])
    if "position" in evidence:
        position = evidence["position"]
        yield "order of samples moved the ratio by", text.percent(position["bias"], signed=True)
    for name, value in evidence.get("autocorrelation", {}).items():
        yield f"autocorrelation, {name}", f"{value:+.2f}"
    if "tick_share" in evidence:
        yield "a tick of the timer", f"{text.percent(evidence['tick_share'])} of a latency"
    if "idle_gap_seconds" in evidence:
        gaps = evidence["idle_gap_seconds"]
        yield "idle between rounds", f"median {text.seconds(gaps['median'])}, longest {text.seconds(gaps['longest'])}"
    if "cold" in evidence:
        cold = evidence["cold"]
        yield "a load, cache emptied and hot", f"{cold['flushed_cycles']:.0f} and {cold['hot_cycles']:.0f} cycles"
    probes = timing.get("probes")
    if probes:
        yield (
            "answers of timed launches compared",
            f"{probes['verified']}, from {text.counted(probes['rounds'], 'round')}",
        )


def _machine(readings: Iterable[MachineFacts]) -> Iterator[tuple[str, str]]:
    readings = list(readings)
    masks = [one["throttle"] for one in readings if one["throttle"] is not None]
    if masks:
        found = [name for bit, name in THROTTLING.items() if any(mask & bit for mask in masks)]
        yield "throttling", ", ".join(found) or "none"
    heat = [one["temperature_c"] for one in readings if one["temperature_c"] is not None]
    if heat:
        yield "temperature", f"{min(heat):g} to {max(heat):g} degrees C"
    others = [one["foreign_processes"] for one in readings if one["foreign_processes"] is not None]
    if others:
        yield "other processes on the GPU", str(max(others))
