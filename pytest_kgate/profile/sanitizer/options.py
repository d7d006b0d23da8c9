"""The command line of `kgate sanitize`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kgate.profile.sanitizer.tools import TOOLS


def add_sanitize_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them; `sanitize_command.sanitize` takes the namespace."""
    parser.add_argument(
        "tests",
        nargs="*",
        metavar="TEST",
        help="node ids, files or folders, as pytest takes them; default: all tests with a sanitize marker",
    )
    parser.add_argument(
        "--tool", action="append", choices=TOOLS, help="one of the tools; may be repeated; default: all four"
    )
    parser.add_argument("--kernels", metavar="PART", help="watch only kernels with this in their name")
    parser.add_argument(
        "--full-size", action="store_true", help="run each problem as it is, also where it has a smaller one"
    )
    parser.add_argument("--pytest", default="", metavar="ARGS", help="more arguments for pytest, as one word")
    parser.add_argument(
        "--jobs",
        "-j",
        type=int,
        default=1,
        metavar="N",
        help="run so many processes side by side, one tool on one TEST each; default: 1, tool after tool on all",
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long one process may take; default: 600"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write what was found to this file")
