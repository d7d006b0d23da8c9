"""The candidates that records are about, with what a ranking needs of each."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.ranking.log_ratio import log_latencies
from pytest_kgate.report.ranking.log_ratio import log_ratio_estimate
from pytest_kgate.report.ranking.places import Estimate
from pytest_kgate.report.ranking.places import SharedRounds
from pytest_kgate.report.ranking.places import mean_of
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.record.verdicts import worst
from pytest_kgate.report.rows import latency
from pytest_kgate.report.rows import number

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import RecordVerdict
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gate_facts import IntervalFacts

_FREEDOM = 11
"""Degrees of freedom of an interval of one process: it is made of twelve blocks of rounds."""


@dataclass(frozen=True)
class Variant:
    """One candidate on one problem, by its latest record; or on several, by the mean."""

    name: str
    """As tables show it; with the beginning of its source's hash where two of one name differ."""
    verdict: RecordVerdict
    """Of the record; of several problems, the worst."""
    records: int
    """How many there are of it."""
    speedup: Estimate | None
    """Log of the reference's latency over its own; None where it was not raced, or the race says nothing."""
    seconds: float | None = None
    """Its latency; None without a race, and of several problems."""
    registers: float | None = None
    """Of a thread: as launched, where counters or a limit say so, or else the most of all kernels of the build."""
    spill_bytes: float | None = None
    """Of a thread, the most of all kernels of the build."""
    shared_bytes: float | None = None
    """Of a block, as `registers`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Counters of one call by short name; empty where there are none."""

    @property
    def by_verdict(self) -> tuple[bool, int]:
        """Sorts what passes first, then what is measured only, then by how bad it is."""
        return self.verdict != "PASS", -VERDICTS[self.verdict].rank

    @property
    def by_resources(self) -> tuple[float, ...]:
        """Sorts what takes little first; what is not known counts as much."""
        known = (self.spill_bytes, self.registers, self.shared_bytes)
        return tuple(float("inf") if one is None else one for one in known)


def variants_of(records: Iterable[Record]) -> list[Variant]:
    """One for each candidate, by name, knobs and source, in the order in which they first appear.

    The records are of one problem, device and reference.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        candidate = record["candidate"]
        name = text.visible(candidate["name"])
        identity = (name, repr(sorted(candidate["knobs"].items())), candidate["source_hash"] or "")
        groups.setdefault(identity, []).append(record)
    names = [name for name, _, _ in groups]
    return [
        _variant(f"{name}@{source[:7]}" if names.count(name) > 1 and source else name, group)
        for (name, _, source), group in groups.items()
    ]


def mean_variant(alike: Sequence[Variant]) -> Variant | None:
    """One candidate on several problems, by the geometric mean of its speedups; None where one of them is missing."""
    known = [one.speedup for one in alike if one.speedup is not None]
    if len(known) < len(alike):
        return None
    verdict = worst(one.verdict for one in alike)
    return Variant(alike[0].name, verdict, sum(one.records for one in alike), mean_of(known))


def _variant(name: str, records: Sequence[Record]) -> Variant:
    record = max(records, key=lambda one: one["started"])
    counters, timing = record.get("counters"), record["timing"]
    arm = counters["candidate"] if counters is not None else None
    metrics = {} if arm is None else {short: facts["value"] for short, facts in arm["metrics"].items()}
    return Variant(
        name=name,
        verdict=record["verdict"],
        records=len(records),
        speedup=_speedup(record),
        seconds=latency(timing["candidate"], 0.5) if timing else None,
        registers=metrics.get("registers", _most(record, "registers")),
        spill_bytes=_most(record, "spill_bytes"),
        shared_bytes=metrics.get("shared_per_block", _most(record, "shared_bytes")),
        metrics=metrics,
    )


def _most(record: Record, name: str) -> float | None:
    limits = [one["value"] for one in record.get("limits", ()) if (one["kind"], one["name"]) == ("resources", name)]
    kernels: list[Any] = record["candidate"]["resources"]
    built = max((float(one[name]) for one in kernels if name in one), default=None)
    return next((value for value in limits if value is not None), built)


def _speedup(record: Record) -> Estimate | None:
    """Of the middle of the latencies, whatever the gates are about."""
    row = VERDICTS[record["verdict"]]
    timing = record["timing"]
    if not row.timed or not row.of_gates or timing is None:
        return None
    if "measured" in record:
        return _measured(record)
    gates: list[GateFacts] = [gate for gate in record["gates"] if gate["quantile"] == 0.5 and gate["ratio"]]
    processes = next((len(gate["processes"]["ratios"]) for gate in gates if "processes" in gate), None)
    interval: IntervalFacts | None = gates[0]["ratio"] if gates else timing.get("ratio")
    if interval is None:
        return None
    low, middle, high = number(interval["low"]), number(interval["estimate"]), number(interval["high"])
    if not 0 < low <= middle <= high < float("inf"):
        return None
    freedom = processes - 1 if processes else _FREEDOM
    return Estimate.of_interval(low, middle, high, number(interval["confidence"]), freedom)


def _measured(record: Record) -> Estimate | None:
    """Of a race of a fixed number of rounds, with these where other candidates shared them."""
    found = log_ratio_estimate(record)
    if found is None:
        return None
    joint = record["measured"].get("joint")
    shared = SharedRounds(joint["race"], log_latencies(record)) if joint else None
    return Estimate(-found.log_ratio, found.stderr, found.degrees, shared)
