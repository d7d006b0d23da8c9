"""`kgate task-folder`: a task of gpu-mode/reference-kernels, and one submission."""

from __future__ import annotations

import argparse

from pytest_kgate.bench.published import session
from pytest_kgate.problems.problem import Problem

OWN_OPTIONS = session.OWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Check a submission's answers as the task demands and against its reference in float64, and race it against "
        "that reference."
    )
    parser.add_argument("folder", metavar="FOLDER", help="with task.yml and reference.py")
    session.add_arguments(parser, "a file with custom_kernel")
    parser.add_argument(
        "--case",
        default="benchmarks:0",
        metavar="LIST:PLACE",
        help="of task.yml, such as tests:2; default: %(default)s",
    )
    parser.add_argument("--in-place", action="store_true", help="kernels change their data, besides outputs in it")


def run(options: argparse.Namespace) -> int:
    """Run the session; returns 0 where the submission is right and below the bound, else 1."""
    which = ["--case", options.case, *["--in-place"] * options.in_place]
    return session.run(
        options,
        lambda: Problem.from_task_folder(options.folder, options.case, in_place=options.in_place),
        "task-folder",
        [options.folder],
        which,
    )
