"""`kgate selftest`: run pytest so that each kbench call only tests whether its problem's check finds wrong kernels."""

from __future__ import annotations

import argparse
import subprocess
import sys

from pytest_kgate.errors import UsageError

_NO_TESTS = 5
"""pytest's own exit status for it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.description = (
        "Run pytest on these tests; each kbench call races nothing, but shows its problem's check kernels "
        "that are wrong in one known way."
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="TEST", help="and options, as for pytest: tests/test_mine.py::test_it -k wmma"
    )


def run(options: argparse.Namespace) -> int:
    """Start pytest; returns its exit status. `UsageError` where none of the tests calls kbench."""
    status = subprocess.run([sys.executable, "-m", "pytest", "--kgate-selftest", *options.arguments]).returncode
    if status == _NO_TESTS:
        raise UsageError("None of these tests calls kbench.", "Name tests as for pytest: tests/test_mine.py::test_it.")
    return status
