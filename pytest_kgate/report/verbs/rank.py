"""`kgate rank`: candidates on one problem in their order, with who can't be told apart."""

from __future__ import annotations

import argparse
import json
import os
import sys

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block
from pytest_kgate.report.ranking import table
from pytest_kgate.report.ranking.ranking import tables_of
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import read
from pytest_kgate.report.text.render import columns

_CUT_OFF = 2
"""The exit status where a file lacks its end: who is missing may have been the fastest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate rank`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    parser.add_argument(
        "--by",
        choices=("speedup", "score"),
        default="speedup",
        help="speedup: by verdict and the lower end of the speedup's interval (default); score: by the composite score",
    )
    parser.add_argument("--format", choices=("table", "markdown", "json"), help="default: table")
    block.add_arguments(parser, "replace a block of this file by the markdown tables")
    parser.add_argument("--width", type=int, help="columns of the table; default: the terminal's, or 120")


def run(options: argparse.Namespace) -> int:
    """Merge the files and rank what they hold; returns 2 where a file is cut off."""
    block.check(options)
    if options.into is not None and options.format not in (None, "markdown"):
        raise UsageError(f"--into writes markdown, not {options.format}.", "Leave --format away.")
    files = [read(path) for path in options.files]
    cut_off = [clause for _, clause in files if clause is not None]
    if cut_off and options.into is not None:
        raise KgateError(f"{cut_off[0]}.", "The page was left as it is: take the file anew from where it was written.")
    tables = tables_of(merge(found for found, _ in files), options.by)
    if options.into is not None or options.format == "markdown":
        block.write(options, table.page_of(tables))
    elif options.format == "json":
        print(json.dumps(table.document_of(tables), allow_nan=False))
    elif tables:
        width = columns(options.width)
        print("\n".join(table.lines_of(tables, width, sys.stdout.isatty() and "NO_COLOR" not in os.environ)))
    else:
        print("No records.")
    for clause in cut_off:
        print(f"kgate: {clause}", file=sys.stderr)
    return _CUT_OFF if cut_off else 0
