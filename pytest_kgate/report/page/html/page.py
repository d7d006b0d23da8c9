"""Records as one HTML page: everything in one file, which fetches nothing.

Jinja's templates make the page, SVG included: with escaping always on, for names and messages of tests are whatever
somebody wrote there. A library for plots would bring a script of megabytes, or pictures whose numbers can't be copied.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.page.html.compare import compare
from pytest_kgate.report.page.html.figures import markup
from pytest_kgate.report.page.html.forest import forest
from pytest_kgate.report.page.html.heatmap import heatmap
from pytest_kgate.report.page.html.section import Section
from pytest_kgate.report.page.html.section import section
from pytest_kgate.report.page.markdown import conditions_of
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import rows_of
from pytest_kgate.report.together.grids import grids_of
from pytest_kgate.report.together.history.series import Series
from pytest_kgate.report.together.history.series import series_of

if TYPE_CHECKING:
    import jinja2

    from pytest_kgate.report.page.html.figures.figure import Figure
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.history.point import Point

_POINTS = 36_000
"""Samples that are drawn on a page, of all records and arms together."""

_MOST_POINTS = 480
_FEWEST_POINTS = 36
"""Of one arm of a record."""

_MOST_SECTIONS = 500
"""Records that are shown in full."""

_MOST_PASSING = 250
"""The same where a session has more: those that did not pass come first, and others up to so many in all."""

_PLAIN_BYTES = 700_000
"""Sections up to this size stand in the page as they are; larger ones are compressed, and unpacked by its script."""


def page(
    records: Sequence[Record],
    sources: Sequence[str],
    notes: Sequence[str] = (),
    history: Sequence[Point] = (),
    search: Sequence[Figure] = (),
) -> str:
    """The page. `sources` names the file of each record; `notes` are sentences about the whole session.

    Gates that `history` has of earlier sessions are drawn over time. `search` are figures of a search for kernels.
    """
    names = list(dict.fromkeys(sources))
    shown = _in_full(records)
    points = max(_FEWEST_POINTS, min(_MOST_POINTS, _POINTS // max(2 * len(shown), 1)))
    several = len(names) > 1
    trends: dict[tuple[str, int], list[Series]] = {}
    for one in series_of(history):
        trends.setdefault((one.test, one.call), []).append(one)
    made = [
        section(
            number,
            records[number],
            sources[number] if several else "",
            points,
            trends.get((records[number]["test"], records[number]["call"]), ()),
        )
        for number in shown
    ]
    parts = [_parts(one) for one in made]
    packed = sum(len(part) for each in parts for _, part in each) > _PLAIN_BYTES
    script, style = _text("page.js"), _text("page.css")
    whole = _templates().get_template("page.html")
    rows = [rows_of([record]) for record in records]
    return whole.render(
        style=style,
        script=script,
        policy=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        counts=_counts(records),
        conditions=conditions_of(records),
        notes=notes,
        search="".join(str(_figure_macro()(one)) for one in search),
        names=names,
        forest=forest(records, rows, sources),
        heatmap=heatmap(records, rows),
        grids=[(name, grid.line) for name in names for grid in grids_of(_of_file(records, sources, name))],
        pairs=compare(records, sources, names),
        records=records,
        in_full=len(shown),
        sections=[]
        if packed
        else [(one, "".join(part for _, part in each)) for one, each in zip(made, parts, strict=True)],
        pack=_pack(made, parts) if packed else "",
    )


def _of_file(records: Sequence[Record], sources: Sequence[str], name: str) -> list[Record]:
    return [record for record, source in zip(records, sources, strict=True) if source == name]


def _in_full(records: Sequence[Record]) -> list[int]:
    """Which records have a section, in their order."""
    if len(records) <= _MOST_SECTIONS:
        return list(range(len(records)))
    passing = [VERDICTS[record["verdict"]].passes for record in records]
    by_rank = sorted(range(len(records)), key=passing.__getitem__)
    return sorted(by_rank[: min(_MOST_SECTIONS, max(_MOST_PASSING, passing.count(False)))])


def _parts(one: Section) -> list[tuple[str, str]]:
    """What is said of a call and its figures, as HTML, each with its title."""
    said, figure = _templates().get_template("said.html"), _figure_macro()
    return [("", said.render(section=one)), *((each.title, str(figure(each))) for each in one.figures)]


@functools.cache
def _figure_macro() -> Any:
    """Called some thousand times: to render a template takes longer than what it says of a small table."""
    return vars(_templates().get_template("figure.html").module)["figure"]


def _pack(sections: Sequence[Section], parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """All sections, compressed: parts that are alike once, those of one title in a row, where they compress best."""
    frame = _templates().get_template("section.html")
    places = {part: place for place, part in enumerate(sorted({part for each in parts for part in each}))}
    calls = [
        [frame.render(section=one, body=""), [places[part] for part in each]]
        for one, each in zip(sections, parts, strict=True)
    ]
    text = json.dumps({"calls": calls, "parts": [part for _, part in places]}, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _counts(records: Sequence[Record]) -> Mapping[str, int]:
    """Records by verdict, in the order of the table of verdicts; none that are 0."""
    found = Counter(record["verdict"] for record in records)
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2  # here, since every session of pytest would pay

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_kgate.report.page.html", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=markup.readable,
    )
    environment.filters |= {"body": markup.body, "drawn": markup.drawn}
    environment.filters["css"] = _css
    environment.filters["shade"] = _shade
    return environment


def _css(verdict: str) -> str:
    """The class of a verdict: `v-not-measured`."""
    return "v-" + verdict.lower().replace(" ", "-")


def _shade(step: int) -> str:
    """The class of a shade of the heatmap: `fast3`, `even`, `slow1`."""
    return f"fast{-step}" if step < 0 else f"slow{step}" if step > 0 else "even"


def _text(name: str) -> Any:
    loader = _templates().loader
    assert loader is not None
    return loader.get_source(_templates(), name)[0]
