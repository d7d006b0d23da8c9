"""The `kgate` command: thin, every verb calls the functions that the plugin calls."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate import __version__
from pytest_kgate.build import command as building
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.sanitizer.options import add_sanitize_arguments
from pytest_kgate.report.page import block as into
from pytest_kgate.validation.calibrate.options import add_arguments
from pytest_kgate.validation.cheats.command import add_arguments as integrity_arguments
from pytest_kgate.validation.oracle.command import add_arguments as oracle_arguments

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_BAD_USAGE = 2

_INTERRUPTED = 130
"""As shells report a process that Ctrl-C ended."""

_NO_TESTS = 5
"""pytest's own exit status for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns the exit status: 0, 1 where gates or error rates miss what was asked for, 2 after an error that the user can
    act on, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["selftest"] and not {"-h", "--help"} & set(arguments):
        arguments.insert(1, "--")  # all that follows is pytest's
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"kgate: {message}", file=sys.stderr)
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KgateError as error:
        print(f"kgate: {error.what}", error.todo, sep="\n", file=sys.stderr)
        return _BAD_USAGE
    except KeyboardInterrupt:
        print("kgate: interrupted. What it had written to files stays there.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # `kgate report FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kgate",
        description="Read what pytest-kgate recorded, list what it can build, measure how far it can be trusted.",
    )
    parser.add_argument("--version", action="version", version=f"pytest-kgate {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    report = verbs.add_parser("report", help="all gates of one or several files of records, as one table")
    report.add_argument("files", nargs="+", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    report.add_argument("--format", choices=("table", "markdown", "json", "ladder"), help="default: table")
    into.add_arguments(report, "replace a block of this file by the markdown table")
    report.add_argument(
        "--fdr",
        type=float,
        metavar="RATE",
        help="judge all gates of the files together, as --kgate-fdr does a session's",
    )
    report.add_argument("--width", type=int, help="columns of the table; default: the terminal's, or 120")
    report.set_defaults(run=_report)

    show = verbs.add_parser("show", help="the records of one test, in full")
    show.add_argument("file", metavar="FILE")
    show.add_argument("test", metavar="TEST", help="a part of the test's node id")
    show.add_argument("--width", type=int, help="columns; default: the terminal's, or 120")
    show.set_defaults(run=_show)

    simulate = verbs.add_parser("simulate", help="the gate's error rates on made-up noise, where the truth is known")
    simulate.add_argument(
        "--gates",
        type=int,
        metavar="N",
        help="of each noise at the bound, and a quarter of it elsewhere; default: 4000",
    )
    simulate.add_argument("--only", metavar="NAME[,NAME...]", help="these kinds of noise; default: all")
    simulate.add_argument(
        "--designs", action="store_true", help="other designs of a round instead: half-widths and false passes of each"
    )
    simulate.add_argument("--seed", type=int, default=42, help="default: 42")
    simulate.add_argument("--json", type=Path, metavar="PATH", help="write the counts to this file")
    simulate.add_argument(
        "--from", type=Path, dest="source", metavar="PATH", help="show such a file; with --only, count these anew"
    )
    into.add_arguments(simulate, "replace a block of this file by the table")
    simulate.set_defaults(run=_simulate)

    calibrate = verbs.add_parser("calibrate", help="measure how often gates on this device lie; 1 if too often")
    add_arguments(calibrate)
    calibrate.set_defaults(run=_calibrate)

    selftest = verbs.add_parser(
        "selftest",
        help="ask whether the checks of your tests find wrong kernels; 1 if one lives",
        description="Run pytest on these tests; each kbench call races nothing, but shows its problem's check kernels "
        "that are wrong in one known way.",
    )
    selftest.add_argument(
        "arguments", nargs="*", metavar="TEST", help="and options, as for pytest: tests/test_mine.py::test_it -k wmma"
    )
    selftest.set_defaults(run=_selftest)
    oracle = verbs.add_parser("oracle", help="honest and wrong attention over a grid of shapes; 1 if one is misjudged")
    oracle_arguments(oracle)
    oracle.set_defaults(run=_oracle)
    integrity = verbs.add_parser("integrity", help="run candidates that cheat against the gate; 1 if one gets through")
    integrity_arguments(integrity)
    integrity.set_defaults(run=_integrity)
    build = verbs.add_parser("build", help="compile shipped kernels ahead of the tests, or time how long that takes")
    building.add_arguments(build)
    build.set_defaults(run=building.build)

    sanitize = verbs.add_parser("sanitize", help="run tests' kernels under compute-sanitizer; 1 if it finds anything")
    add_sanitize_arguments(sanitize)
    sanitize.set_defaults(run=_sanitize)

    impls = verbs.add_parser("impls", help="the shipped kernels and their knobs")
    impls.set_defaults(run=_impls)
    return parser


def _report(options: argparse.Namespace) -> int:
    from pytest_kgate.report import false_discovery as multiplicity
    from pytest_kgate.report.page import markdown
    from pytest_kgate.report.record import record
    from pytest_kgate.report.text.summary import summary_table
    from pytest_kgate.session.options.table import parse_value

    into.check(options)
    if options.into is not None and options.format not in (None, "markdown", "ladder"):
        raise UsageError(f"--into writes markdown, not {options.format}.", "Leave --format away.")
    records = record.merge(record.load(path) for path in options.files)
    lines: list[str] = []
    if options.fdr is not None:
        records, lines = multiplicity.control(records, parse_value("fdr", options.fdr, "--fdr"))
    in_markdown = _ladder if options.format == "ladder" else markdown.table
    if options.into is not None or options.format in ("markdown", "ladder"):
        into.put(options, in_markdown(records))
    elif options.format == "json":
        print(json.dumps(record.document(records), allow_nan=False))
    elif records:
        print(summary_table(records, _width(options.width), sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    else:
        print("No records.")
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


def _ladder(records: Iterable[Record]) -> str:
    from pytest_kgate.build import registry
    from pytest_kgate.report.page import ladder

    return ladder.table(records, registry.implementations().values())


def _show(options: argparse.Namespace) -> int:
    from pytest_kgate.report.record.record import load
    from pytest_kgate.report.text.failure import failure_text

    records = load(options.file)
    found = [record for record in records if options.test in record["test"]]
    if not found:
        tests = ", ".join(dict.fromkeys(record["test"] for record in records)) or "none"
        raise UsageError(f"{options.file} has no record of a test named like {options.test!r}.", f"It has: {tests}.")
    print("\n\n".join(failure_text(record, _width(options.width)) for record in found))
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.simulate import error_rates as simulate
    from pytest_kgate.validation.simulate import file as simulated
    from pytest_kgate.validation.simulate.scenarios import chosen

    into.check(options)
    if options.gates is not None and options.gates < 1:
        raise UsageError(f"--gates cannot be {options.gates}.", "It takes a whole number from 1.")
    if options.designs:
        return _designs(options)
    shown = _show_progress if sys.stderr.isatty() else None
    if options.source is not None:
        document = simulated.load(options.source)
        if options.only is not None:
            document = simulate.renewed(document, chosen(options.only), progress=shown)
    else:
        scenarios = chosen(options.only)
        document = simulate.simulate(scenarios, options.gates or simulate.GATES, options.seed, progress=shown)
    if options.json is not None:
        simulated.save(document, options.json)
    into.put(options, simulated.table(document))
    complaints = simulated.beyond_limit(document)
    for complaint in complaints:
        print(f"kgate: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _designs(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.simulate import designs
    from pytest_kgate.validation.simulate.file import load
    from pytest_kgate.validation.simulate.file import save

    if options.source is not None:
        document = load(options.source, designs.SCHEMA)
    else:
        shown = _show_progress if sys.stderr.isatty() else None
        document = designs.simulate(
            designs.chosen(options.only), options.gates or designs.GATES, options.seed, progress=shown
        )
    if options.json is not None:
        save(document, options.json)
    into.put(options, designs.table(document))
    return 0


def _show_progress(share: float) -> None:
    print(f"\r{share:4.0%}", end="" if share < 1 else "\r", file=sys.stderr, flush=True)


def _calibrate(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.calibrate.command import calibrate

    return calibrate(options)


def _selftest(options: argparse.Namespace) -> int:
    status = subprocess.run([sys.executable, "-m", "pytest", "--kgate-selftest", *options.arguments]).returncode
    if status == _NO_TESTS:
        raise UsageError("None of these tests calls kbench.", "Name tests as for pytest: tests/test_mine.py::test_it.")
    return status


def _oracle(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.oracle.command import oracle

    return oracle(options)


def _integrity(options: argparse.Namespace) -> int:
    from pytest_kgate.validation.cheats.command import integrity

    return integrity(options)


def _sanitize(options: argparse.Namespace) -> int:
    from pytest_kgate.profile.sanitizer.command import sanitize

    return sanitize(options)


def _impls(options: argparse.Namespace) -> int:
    from pytest_kgate.build import registry
    from pytest_kgate.build import vendor_libraries as vendor

    for name, implementation in registry.implementations().items():
        print(f"{name} ({implementation.device_kind}, {implementation.status}): {implementation.description}")
        if implementation.status == "ready":
            source = registry.find_source(name)
            for library in source.libraries:
                print(f"    needs {vendor.KNOWN[library].title}: {vendor.KNOWN[library].install}")
            for knob in source.knobs:
                print(f"    {knob.name}={knob.default}  {knob.description}")
    return 0


def _width(wanted: int | None) -> int:
    return wanted or shutil.get_terminal_size(fallback=(120, 24)).columns


if __name__ == "__main__":
    raise SystemExit(main())
