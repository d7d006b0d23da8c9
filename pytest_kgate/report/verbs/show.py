"""`kgate show`: the records of one test, in full."""

from __future__ import annotations

import argparse
import sys

from pytest_kgate.errors import UsageError
from pytest_kgate.report.format import visible
from pytest_kgate.report.record.document import read
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.render import columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate show`."""
    parser.add_argument("file", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    parser.add_argument("test", metavar="TEST", help="a part of the test's node id")
    parser.add_argument("--width", type=int, help="columns; default: the terminal's, or 120")


def run(options: argparse.Namespace) -> int:
    """Print them; raises `UsageError` where the file has no such test. Returns 2 where the file is cut off."""
    records, cut_off = read(options.file)
    found = [record for record in records if options.test in record["test"]]
    if not records:
        cut = ", and is cut off" if cut_off is not None else ""
        raise UsageError(f"{options.file} has no records{cut}.", "Give the file of a session that raced something.")
    if not found:
        tests = ", ".join(dict.fromkeys(record["test"] for record in records))
        cut = f"{cut_off}; " if cut_off is not None else ""
        raise UsageError(
            f"{cut}{options.file} has no record of a test named like {options.test!r}.", f"It has: {tests}."
        )
    print(
        "\n\n".join(visible(failure_text(record, columns(options.width), whole=True), lines=True) for record in found)
    )
    if cut_off is not None:
        print(f"kgate: {cut_off}", file=sys.stderr)
        return 2
    return 0
