"""The options of `kgate calibrate`; imports nothing that the other verbs would pay for."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kgate.report.page import block as into


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--quick", action="store_true", help="a minute or two (the default)")
    parser.add_argument(
        "--full", action="store_true", help="20 processes of 50 gates on equal kernels: 10 to 20 minutes"
    )
    parser.add_argument("--compare", action="store_true", help="run other recipes beside ours, on equal kernels")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep all gates in FILE, and continue it if it is there"
    )
    parser.add_argument("--show", action="store_true", help="run nothing, show FILE")
    parser.add_argument(
        "--gather", type=Path, nargs="+", metavar="PART", help="run nothing, make FILE of these, then show it"
    )
    parser.add_argument("--device", default="auto", metavar="auto|cuda:N|host|fake", help="default: %(default)s")
    parser.add_argument(
        "--timer", default="auto", choices=("auto", "graph", "queue", "eager", "wall"), help="default: graph on a GPU"
    )
    parser.add_argument("--cache", default="hot", choices=("hot", "cold"))
    parser.add_argument("--processes", type=_count, metavar="N", help="in all, those in FILE included")
    parser.add_argument("--gates", type=_count, metavar="M", help="on equal kernels, a process")
    parser.add_argument("--truth-gates", type=_count, metavar="M", help="on kernels of known ratio, a process")
    parser.add_argument("--cases", default="", metavar="A,B", help="groups (aa, truth), names or patterns")
    parser.add_argument(
        "--budget", type=_seconds, default=10.0, metavar="SECONDS", help="of a race, default: %(default)g"
    )
    parser.add_argument("--seconds", type=_seconds, metavar="LIMIT", help="start no gate later than this")
    parser.add_argument("--seed", type=_count, default=42, metavar="N", help="default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the p-values (needs matplotlib)")
    into.add_arguments(parser, "write the tables of FILE into a block of this page")
    parser.add_argument("--width", type=_count, help="columns of the tables; default: the terminal's, or 100")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value
