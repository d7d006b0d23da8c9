"""Records into tables of places: one for each problem and device, and one for the mean of several problems."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.ranking.order import By
from pytest_kgate.report.ranking.order import Place
from pytest_kgate.report.ranking.order import placed
from pytest_kgate.report.ranking.remarks import of_latest
from pytest_kgate.report.ranking.remarks import of_missing
from pytest_kgate.report.ranking.remarks import of_scores
from pytest_kgate.report.ranking.variants import mean_variant
from pytest_kgate.report.ranking.variants import variants_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


@dataclass(frozen=True)
class Conditions:
    """What records must share to be compared."""

    device: str
    """The name of the GPU or CPU."""
    timing: str
    """`graph timer, hot cache`; empty where nothing was timed."""
    problem: str
    """Its name."""
    reference: str
    """`sdpa cudnn`; empty where nothing was raced."""
    details: str = field(default="", repr=False)
    """The problem's element type and params."""

    def __str__(self) -> str:
        against = f"against {self.reference}" if self.reference else ""
        return ", ".join(part for part in (self.problem, against, self.device, self.timing) if part)


@dataclass(frozen=True)
class Table:
    """The variants of one problem, in order."""

    conditions: Conditions
    places: tuple[Place, ...]
    remarks: tuple[str, ...]
    """One sentence each."""
    records: tuple[Record, ...]
    """Of all variants."""


def tables_of(records: Iterable[Record], by: By = "speedup") -> list[Table]:
    """One for each device, way of timing, problem and reference, in the order in which these first appear.

    Records of candidates that never raced, which have no reference, stand in all tables of their problem and device.
    Races against other revisions are left out: there each candidate has a reference of its own.
    Behind them stands, for each device, that of the geometric mean over its tables of more than one candidate.
    """
    groups: dict[Conditions, list[Record]] = {}
    unraced: list[tuple[Conditions, Record]] = []
    for record in records:
        if "against" in record:
            continue
        conditions = _conditions(record)
        if conditions.timing:
            groups.setdefault(conditions, []).append(record)
        else:
            unraced.append((replace(conditions, reference=""), record))
    for conditions, record in unraced:
        alike = [one for one in groups if replace(one, timing="", reference="") == conditions]
        for one in alike or [conditions]:
            groups.setdefault(one, []).append(record)
    tables = [_table(conditions, group, by) for conditions, group in groups.items()]
    means = (_mean(group, by) for group in _by_device(tables) if len(group) > 1)
    return tables + [mean for mean in means if mean.places]


def _conditions(record: Record) -> Conditions:
    environment, timing, reference = record["environment"], record["timing"], record["reference"]
    device = environment.get("gpu") or environment.get("cpu") or {}
    named = [text.visible(reference["name"]), reference["backend"]] if reference else []
    return Conditions(
        device=device.get("name") or device.get("model") or "an unknown device",
        timing=f"{timing['timer']} timer, {timing['cache']} cache" if timing else "",
        problem=text.visible(record["problem"]["name"]),
        reference=" ".join(one for one in named if one),
        details=json.dumps([record["problem"]["dtype"], record["problem"]["params"]], sort_keys=True, default=str),
    )


def _table(conditions: Conditions, records: Sequence[Record], by: By) -> Table:
    places = placed(variants_of(records), by)
    remarks = (*of_latest(places), *of_missing(places), *of_scores(places, by))
    return Table(conditions, tuple(places), remarks, tuple(records))


def _by_device(tables: Iterable[Table]) -> Iterable[list[Table]]:
    """Those in which there is something to rank, by device and way of timing."""
    groups: dict[tuple[str, str], list[Table]] = {}
    for table in tables:
        if sum(one.first is not None for one in table.places) > 1:
            groups.setdefault((table.conditions.device, table.conditions.timing), []).append(table)
    return groups.values()


def _mean(tables: Sequence[Table], by: By) -> Table:
    """Of the candidates that have a speedup in each of the tables; the others are named in a remark."""
    found = [{place.variant.name: place.variant for place in table.places} for table in tables]
    names = list(dict.fromkeys(itertools.chain.from_iterable(found)))
    means = {name: mean_variant([one[name] for one in found]) for name in names if all(name in one for one in found)}
    places = placed([mean for mean in means.values() if mean is not None], by, scored=False)
    left_out = [name for name in names if means.get(name) is None]
    told = f"Left out, as not ranked in each of the {len(tables)} tables: {', '.join(left_out)}."
    first = tables[0].conditions
    conditions = Conditions(first.device, first.timing, f"geometric mean over {len(tables)} tables", "")
    records = tuple(record for table in tables for record in table.records)
    return Table(conditions, tuple(places), (told,) if left_out else (), records)
