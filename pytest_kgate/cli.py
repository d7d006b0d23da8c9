"""The `kgate` command: the table of its verbs. A verb's module has `add_arguments(parser)` and `run(options)`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate import __version__
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_BAD_USAGE = 2

_INTERRUPTED = 130
"""As shells report a process that Ctrl-C ended."""

_VERBS = {
    "simulate": (
        "pytest_kgate.validation.simulate.command",
        "the gate's error rates on made-up noise, where the truth is known",
    ),
    "calibrate": (
        "pytest_kgate.validation.calibrate.command",
        "measure how often gates on this device lie; 1 if too often",
    ),
    "selftest": (
        "pytest_kgate.bench.correctness.command",
        "ask whether the checks of your tests find wrong kernels; 1 if one lives",
    ),
    "oracle": (
        "pytest_kgate.validation.oracle.command",
        "honest and wrong attention over a grid of shapes; 1 if one is misjudged",
    ),
    "integrity": (
        "pytest_kgate.validation.cheats.command",
        "run candidates that cheat against the gate; 1 if one gets through",
    ),
    "build": (
        "pytest_kgate.build.command",
        "compile shipped kernels ahead of the tests, or time how long that takes",
    ),
    "sanitize": (
        "pytest_kgate.profile.sanitizer.command",
        "run tests' kernels under compute-sanitizer; 1 if it finds anything",
    ),
    "impls": (
        "pytest_kgate.build.impls",
        "the shipped kernels and their knobs",
    ),
}
"""Each verb's module, imported only where the verb is asked for, and its line in `kgate --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns the exit status: 0, 1 where gates or error rates miss what was asked for, 2 after an error that the user can
    act on, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["selftest"] and not {"-h", "--help"} & set(arguments):
        arguments.insert(1, "--")  # all that follows is pytest's
    options = _parser(arguments).parse_args(arguments)
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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kgate",
        description="Read what pytest-kgate recorded, list what it can build, measure how far it can be trusted.",
    )
    parser.add_argument("--version", action="version", version=f"pytest-kgate {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    report = verbs.add_parser("report", help="all gates of one or several files of records, as one table")
    report.add_argument("files", nargs="+", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    report.add_argument("--format", choices=("table", "markdown", "json", "ladder"), help="default: table")
    block.add_arguments(report, "replace a block of this file by the markdown table")
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

    for name, (module, text) in _VERBS.items():
        verb = verbs.add_parser(name, help=text)
        if name in arguments:
            command = importlib.import_module(module)
            command.add_arguments(verb)
            verb.set_defaults(run=command.run)
    return parser


def _report(options: argparse.Namespace) -> int:
    from pytest_kgate.report import false_discovery as multiplicity
    from pytest_kgate.report.page import markdown
    from pytest_kgate.report.record.document import document
    from pytest_kgate.report.record.document import load
    from pytest_kgate.report.record.document import merge
    from pytest_kgate.report.text.summary import summary_table
    from pytest_kgate.session.options.options import BY_NAME

    block.check(options)
    if options.into is not None and options.format not in (None, "markdown", "ladder"):
        raise UsageError(f"--into writes markdown, not {options.format}.", "Leave --format away.")
    records = merge(load(path) for path in options.files)
    lines: list[str] = []
    if options.fdr is not None:
        records, lines = multiplicity.control(records, BY_NAME["fdr"].value(options.fdr, "--fdr"))
    in_markdown = _ladder if options.format == "ladder" else markdown.table
    if options.into is not None or options.format in ("markdown", "ladder"):
        block.put(options, in_markdown(records))
    elif options.format == "json":
        print(json.dumps(document(records), allow_nan=False))
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
    from pytest_kgate.report.record.document import load
    from pytest_kgate.report.text.failure import failure_text

    records = load(options.file)
    found = [record for record in records if options.test in record["test"]]
    if not found:
        tests = ", ".join(dict.fromkeys(record["test"] for record in records)) or "none"
        raise UsageError(f"{options.file} has no record of a test named like {options.test!r}.", f"It has: {tests}.")
    print("\n\n".join(failure_text(record, _width(options.width)) for record in found))
    return 0


def _width(wanted: int | None) -> int:
    return wanted or shutil.get_terminal_size(fallback=(120, 24)).columns


if __name__ == "__main__":
    raise SystemExit(main())
