"""`kgate gate`: a demand on two files of measurements that share no round, or on races that were recorded before."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="of `kgate measure --json`: the reference's, then the candidate's; or one of `pytest --kgate-json`",
    )
    parser.add_argument(
        "--speedup", type=float, default=0.95, metavar="BOUND", help="candidate / reference latency; default: 0.95"
    )
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided: half of it a side; default: 0.05")
    parser.add_argument("--quantile", type=float, default=0.5, metavar="Q", help="of the latency; default: 0.5")


def run(options: argparse.Namespace) -> int:
    """Judge and print; 1 where something does not pass, 2 where a file of records is cut off."""
    from pytest_kgate.evaluation.apart.gating.judging import judge_files  # which needs NumPy, that --help does without

    return judge_files(options)
