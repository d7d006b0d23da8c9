"""`kgate flashinfer-bench`: a definition of flashinfer-bench with one of its workloads, and one solution."""

from __future__ import annotations

import argparse

from pytest_kgate.bench.published import session
from pytest_kgate.problems.problem import Problem

OWN_OPTIONS = session.OWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Check a solution's answers against the definition's reference in float64, and race it against that reference."
    )
    parser.add_argument("definition", metavar="DEFINITION.json")
    parser.add_argument("workload", metavar="WORKLOADS.jsonl")
    session.add_arguments(parser, "a file with a function run, FILE.py:FUNCTION, or a solution's JSON")
    parser.add_argument(
        "--case",
        default="0",
        metavar="CASE",
        help="its place from 0, or how its uuid begins; default: 0",
    )
    parser.add_argument("--root", metavar="FOLDER", help="that the paths of recorded inputs start from")


def run(options: argparse.Namespace) -> int:
    """Run the session; returns 0 where the solution is right and below the bound, else 1."""
    which = ["--case", options.case, *(["--root", options.root] if options.root else [])]
    files = [options.definition, options.workload]
    return session.run(
        options,
        lambda: Problem.from_flashinfer_bench(options.definition, options.workload, options.case, root=options.root),
        "flashinfer-bench",
        files,
        which,
    )
