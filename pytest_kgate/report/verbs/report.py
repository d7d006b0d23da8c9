"""`kgate report`: all gates of one or several files of records, as one table or page."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.ci import rows
from pytest_kgate.report.ci import workflow_commands
from pytest_kgate.report.ci.junit.write import junit
from pytest_kgate.report.page import block
from pytest_kgate.report.page import counters
from pytest_kgate.report.page import insights
from pytest_kgate.report.page import ladder
from pytest_kgate.report.page import markdown
from pytest_kgate.report.page import percentiles
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import read
from pytest_kgate.report.text.render import columns
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.report.together import false_discovery
from pytest_kgate.report.together.history import store as history
from pytest_kgate.report.verbs import reviewers

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_kgate.report.record.record import Record

_REGISTRY = "pytest_kgate.build.registry"
"""Where the shipped kernels are listed. Imported by name, for reports know nothing of how kernels are built."""


_CUT_OFF = 2
"""The exit status where a file lacks its end: what is shown is not all that was measured."""


_PAGES: Mapping[str, Callable[[Iterable[Record]], str]] = {
    "markdown": markdown.table,
    "ladder": lambda records: ladder.table(records, _shipped()),
    "insights": insights.table,
    "counters": counters.table,
}
"""What makes a page's table, by the format's name."""

_FOR_CI: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "csv": rows.as_csv,
    "rows": rows.as_json,
    "junit": junit,
}
"""What makes a text for programs, by the format's name."""


_ANNOTATIONS = "annotations"

_OF_FORMATS: Mapping[str, Sequence[str]] = {
    "session_status": (*reviewers.FORMATS, _ANNOTATIONS),
    "junit": (*reviewers.FORMATS, _ANNOTATIONS),
    "policy": (*reviewers.FORMATS,),
}
"""Options that are for some formats only."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate report`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    formats = ("table", "json", "html", *_PAGES, *reviewers.FORMATS, _ANNOTATIONS, *_FOR_CI)
    parser.add_argument("--format", metavar="FORMAT", choices=formats, help=f"{', '.join(formats)}; default: table")
    parser.add_argument(
        "--session-status",
        type=int,
        metavar="STATUS",
        help="pytest's exit status, which comment and summary tell; where it is not 0, files may be missing",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="of `kgate verify`: comment and summary tell of it")
    parser.add_argument(
        "--junit",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of `pytest --junitxml`: comment, summary and annotations name what failed beside the records",
    )
    parser.add_argument(
        "--history", type=Path, metavar="PATH", help="of `pytest --kgate-history`: the HTML page draws gates over time"
    )
    parser.add_argument("--output", type=Path, metavar="PAGE", help="write the HTML page to this file")
    block.add_arguments(parser, "replace a block of this file by the markdown table")
    parser.add_argument(
        "--fdr",
        type=float,
        metavar="RATE",
        help="judge all gates of the files together, as --kgate-fdr does a session's",
    )
    parser.add_argument(
        "--percentiles",
        action="store_true",
        help="below a table or its markdown p50, p90, p95 and p99 of both arms with intervals; other formats have them",
    )
    parser.add_argument("--width", type=int, help="columns of the table; default: the terminal's, or 120")


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Python looks for garbage as objects become many: among the millions of a large file, for a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collections()
def run(options: argparse.Namespace) -> int:
    """Merge the files and show them.

    Returns 1 where --fdr fails a gate that had passed on its own, 2 where a file is cut off.
    """
    block.check(options)
    if options.into is not None and options.format not in (None, *_PAGES):
        raise UsageError(f"--into writes markdown, not {options.format}.", "Leave --format away.")
    if options.output is not None:
        if options.format != "html":
            raise UsageError("--output is for --format html.", "Give that too; the others print to standard output.")
        from pytest_kgate.report.page.html import write as html  # here, since it needs NumPy and Jinja

        html.check(options.output, "--output")
    if options.fdr is not None and not 0 < options.fdr < 1:
        raise UsageError(f"--fdr cannot be {options.fdr:g}.", "It takes a number between 0 and 1, such as 0.05.")
    if options.percentiles and options.format not in (None, "table", "markdown"):
        raise UsageError(
            "--percentiles is for the formats table and markdown.", "Leave it away: pages, comments and rows have them."
        )
    if options.history is not None and options.format != "html":
        raise UsageError("--history is for --format html.", "`kgate history PATH` draws it in the terminal.")
    for name, formats in _OF_FORMATS.items():
        if getattr(options, name) not in (None, []) and options.format not in formats:
            flag = f"--{name.replace('_', '-')}"
            named = " and ".join([", ".join(formats[:-1]), formats[-1]])
            raise UsageError(f"{flag} is for --format {named}.", "Leave it away.")
    # A session that could not even begin has left no file, and the comment must say so in place of the last one's.
    left = [path for path in options.files if not options.session_status or os.path.exists(path)]
    told_anyway = options.format in reviewers.FORMATS and options.session_status is not None
    files, damaged = reviewers.read_all(left) if told_anyway else ([read(path) for path in left], [])
    records = merge(found for found, _ in files)
    cut_off = [clause for _, clause in files if clause is not None]
    if cut_off and options.into is not None:
        raise KgateError(f"{cut_off[0]}.", "The page was left as it is: take the file anew from where it was written.")
    lines: list[str] = []
    if options.fdr is not None:
        records, lines = false_discovery.control(records, options.fdr)
    if options.format in _PAGES or options.into is not None:
        page = _PAGES[options.format or "markdown"](records)
        block.write(options, "\n".join([page, "".join(percentiles.table(records))] if options.percentiles else [page]))
    elif options.format in reviewers.FORMATS:
        told, fault = reviewers.text_of(options, records, cut_off, damaged)
        _write(told)
        if fault is not None:
            raise fault
    elif options.format == _ANNOTATIONS:
        failed, faults = reviewers.failures_of(options, records)
        _write(workflow_commands.commands(records, failed=failed))
        if faults:
            raise faults[0]
    elif options.format in _FOR_CI:
        _write(_FOR_CI[options.format](records))
    elif options.format == "html":
        from pytest_kgate.report.page.html import write as html

        past = history.read(options.history).points if options.history is not None else ()
        page = html.page_of_files(left, [found for found, _ in files], records, past)
        if options.output is not None:
            html.write(options.output, page)
        else:
            sys.stdout.buffer.write(page.encode())
    elif options.format == "json":
        print(json.dumps({**document([]), "records": records}, allow_nan=False))  # they are plain, as they were read
    elif records:
        colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = columns(options.width)
        print(summary_table(records, width, colored, percentiles=options.percentiles))
    else:
        print("No records.")
    for line in (*lines, *(f"kgate: {clause}" for clause in cut_off)):
        print(line, file=sys.stderr)
    if cut_off:
        return _CUT_OFF
    return 1 if lines else 0


def _write(told: str) -> None:
    """In UTF-8, whatever a terminal would take."""
    sys.stdout.buffer.write(told.encode(errors="backslashreplace"))


def _shipped() -> Iterable[ladder.Rung]:
    """The shipped kernels, in the order of their list."""
    implementations = importlib.import_module(_REGISTRY).implementations()
    return [ladder.Rung(one.name, one.description, one.status) for one in implementations.values()]
