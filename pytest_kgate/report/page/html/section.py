"""All that one record says, as the parts of its section of the page."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.report.page.html.facts import build
from pytest_kgate.report.page.html.facts import counters
from pytest_kgate.report.page.html.facts import demands
from pytest_kgate.report.page.html.facts import evidence
from pytest_kgate.report.page.html.figures import errors
from pytest_kgate.report.page.html.figures import race
from pytest_kgate.report.page.html.figures import spread
from pytest_kgate.report.page.html.figures import trend
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import percentiles_of
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.text.failure import failure_text

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.history.series import Series

_COLUMNS = 100
"""Of the account in words."""

_LONGEST = 32
"""Characters of a name that figures have room for."""


@dataclass(frozen=True)
class Section:
    """The section of a page that shows one record."""

    number: int
    """From 0."""
    verdict: str
    name: str
    """The candidate's."""
    against: str
    """The reference's; empty where none was raced."""
    problem: str
    test: str
    source: str
    """The file of records."""
    reason: str
    warnings: Sequence[str]
    figures: Sequence[Figure]


def section(number: int, record: Record, source: str, points: int, trends: Sequence[Series] = ()) -> Section:
    """The section of a record; of each arm at most `points` samples are drawn. `trends` are its gates over time."""
    reference = record["reference"]
    return Section(
        number=number,
        verdict=record["verdict"],
        name=record["candidate"]["name"],
        against=" ".join(part for part in (reference["name"], reference["backend"]) if part) if reference else "",
        problem=record["problem"]["name"],
        test=record["test"],
        source=source,
        reason=record["reason"],
        warnings=record["warnings"],
        figures=list(_figures(record, points, trends)),
    )


def _figures(record: Record, points: int, trends: Sequence[Series]) -> Iterator[Figure]:
    if not VERDICTS[record["verdict"]].passes:
        yield Figure("In words", text=failure_text(record, _COLUMNS))
    yield from demands.figures(record)
    yield from _of_samples(record, points)
    yield from trend.figures(trends)
    found = record["correctness"]
    if found is not None:
        drawn = errors.figure(found)
        if drawn is not None:
            yield drawn
        if "outputs" in found:
            head = ("output", "type", "candidate", "reference", "allowed")
            rows = [
                (
                    one["name"],
                    one["dtype"],
                    str(one["candidate_error"]),
                    str(one["reference_error"]),
                    f"{one['atol']:g}" + (f" + {one['rtol']:g} |exact|" if one["rtol"] else ""),
                )
                for one in found["outputs"]
            ]
            yield Figure("Largest error of each output", Table(head, rows, numbers_from=2))
    yield from evidence.figures(record)
    yield from counters.figures(record)
    yield from build.figures(record)


def _of_samples(record: Record, points: int) -> Iterator[Figure]:
    timing = record["timing"]
    if timing is None:
        return
    try:
        arms = [decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference")]
    except KgateError as error:
        yield Figure("The race, round by round", caption=error.what)
        return
    reference = record["reference"]
    names = ["candidate", "reference"]
    if reference is not None and reference["name"] != record["candidate"]["name"]:
        both = (record["candidate"]["name"], " ".join(filter(None, (reference["name"], reference["backend"]))))
        names = [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..." for name in both]
    bounds = [(gate["quantile"], gate["bound"]) for gate in record["gates"]]
    drawn = (
        race.figure(arms, names, [bound for quantile, bound in bounds if quantile == 0.5], points),
        spread.histogram(arms, names),
    )
    yield from (one for one in drawn if one is not None)
    percentiles = [percentiles_of(timing[arm]) for arm in ("candidate", "reference")]
    yield spread.ladder(arms, names, bounds, percentiles)
