"""`kgate simulate`: count the gate's verdicts on simulated noise, and show how many of them are false."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.add_argument(
        "--gates",
        type=int,
        metavar="N",
        help="of each noise at the bound, and a quarter of it elsewhere; default: 4000",
    )
    parser.add_argument("--only", metavar="NAME[,NAME...]", help="these kinds of noise; default: all")
    parser.add_argument(
        "--designs", action="store_true", help="other designs of a round instead: half-widths and false passes of each"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.95,
        metavar="LEVEL",
        help="two-sided, of the gates, as --kgate-confidence asks for; default: 0.95",
    )
    parser.add_argument("--seed", type=int, default=42, help="default: 42")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the counts to this file")
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="PATH", help="show such a file; with --only, count these anew"
    )
    block.add_arguments(parser, "replace a block of this file by the table")


def run(options: argparse.Namespace) -> int:
    """Simulate, write the file, print the table. Returns 1 where false passes are significantly above their limit."""
    block.check(options)
    if options.gates is not None and options.gates < 1:
        raise UsageError(f"--gates cannot be {options.gates}.", "It takes a whole number from 1.")
    if not 0.5 < options.confidence < 1:
        raise UsageError(f"--confidence cannot be {options.confidence:g}.", "It takes a number between 0.5 and 1.")
    return _compare_designs(options) if options.designs else _count_verdicts(options)


def _count_verdicts(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.simulate import error_rates
    from pytest_kgate.validation.simulate import file
    from pytest_kgate.validation.simulate.scenarios import chosen

    if options.source is not None:
        document = file.load(options.source)
        if options.only is not None:
            document = error_rates.renewed(document, chosen(options.only), progress=_progress())
    else:
        gates = options.gates or error_rates.GATES
        document = error_rates.simulate(
            chosen(options.only), gates, options.seed, progress=_progress(), confidence=options.confidence
        )
    if options.json is not None:
        file.save(document, options.json)
    block.write(options, file.table(document))
    complaints = file.beyond_limit(document)
    for complaint in complaints:
        print(f"kgate: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _compare_designs(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.simulate import designs
    from pytest_kgate.validation.simulate import file

    if options.source is not None:
        document = file.load(options.source, designs.SCHEMA)
    else:
        gates = options.gates or designs.GATES
        document = designs.simulate(designs.chosen(options.only), gates, options.seed, progress=_progress())
    if options.json is not None:
        file.save(document, options.json)
    block.write(options, designs.table(document))
    return 0


def _progress() -> Callable[[float], None] | None:
    """A function that shows the share that is done; None where stderr is no terminal."""
    return _show_share if sys.stderr.isatty() else None


def _show_share(share: float) -> None:
    print(f"\r{share:4.0%}", end="" if share < 1 else "\r", file=sys.stderr, flush=True)
