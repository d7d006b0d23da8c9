"""`kgate kernelbench`: one problem of KernelBench, and one solution."""

from __future__ import annotations

import argparse

from pytest_kgate.bench.published import session
from pytest_kgate.problems.problem import Problem

OWN_OPTIONS = session.OWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Check a solution's answers against the problem's Model in float64, and race it against that Model."
    )
    parser.add_argument("problem", metavar="PROBLEM.py", help="with Model, get_inputs and get_init_inputs")
    session.add_arguments(parser, "a file with ModelNew")


def run(options: argparse.Namespace) -> int:
    """Run the session; returns 0 where the solution is right and below the bound, else 1."""
    return session.run(options, lambda: Problem.from_kernelbench(options.problem), "kernelbench", [options.problem], [])
