"""The options `--into PAGE --block NAME`, which all verbs have that can write their table into a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page.markdown import write_block


def add_arguments(parser: argparse.ArgumentParser, help: str) -> None:
    """Both options; `help` says what --into writes."""
    parser.add_argument("--into", type=Path, metavar="PAGE", help=help)
    parser.add_argument("--block", metavar="NAME", help="the block between <!-- kgate:NAME --> and <!-- /kgate -->")


def check(options: argparse.Namespace) -> None:
    """Raise `UsageError` where one option is given without the other; call it before the verb works for hours."""
    if (options.into is None) != (options.block is None):
        raise UsageError("--into and --block belong together.", "Give both: --into README.md --block NAME.")


def write(options: argparse.Namespace, table: str) -> None:
    """Write the table into the page, or print it where none is named."""
    if options.into is not None:
        write_block(options.into, options.block, table)
    else:
        print(table, end="")
