"""`kgate simulate-search`: searches on made-up noise, where the truth is known: what they claim, and what they find."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block

SEARCHES = 400
"""One standard error of 1.25 % is then 0.6 %."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.add_argument(
        "--searches",
        type=int,
        default=SEARCHES,
        metavar="N",
        help="of each design that promises something; a quarter of it of the others and of each strategy, an eighth of "
        f"each on a recorded space; default: {SEARCHES}",
    )
    parser.add_argument("--only", metavar="NAME[,NAME...]", help="these designs and strategies; default: all")
    parser.add_argument("--seed", type=int, default=42, help="of the first search, the others' follow; default: 42")
    parser.add_argument(
        "--spaces", type=Path, metavar="DIR", help="recorded spaces to search as well; benchmarks/simulated/recorded"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a core"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the counts to this file")
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="PATH", help="show such a file; with --only, count these anew"
    )
    parser.add_argument("--table", choices=("claims", "near", "recorded"), help="this table alone")
    block.add_arguments(parser, "replace a block of this file by the table")


def run(options: argparse.Namespace) -> int:
    """Simulate, write the file, print tables. Returns 1 where a rate is significantly beyond its limit."""
    from pytest_kgate.search.course.simulation import file
    from pytest_kgate.search.course.simulation.count import simulate

    block.check(options)
    if options.searches < 1:
        raise UsageError(f"--searches cannot be {options.searches}.", "It takes a whole number from 1.")
    document: dict[str, Any]
    if options.source is not None and options.only is None:
        document = file.load(options.source)
    else:
        document = simulate(options.only, options.searches, options.seed, options.spaces, _progress, options.jobs)
        if options.source is not None:
            document = file.renewed(file.load(options.source), document)
    if options.json is not None:
        file.save(document, options.json)
    names = [options.table] if options.table else [name for name in file.TABLES if document[name]]
    block.write(options, "\n".join(file.TABLES[name](document) for name in names))
    complaints = file.beyond_limit(document)
    for complaint in complaints:
        print(f"kgate: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        print(what, file=sys.stderr, flush=True)
