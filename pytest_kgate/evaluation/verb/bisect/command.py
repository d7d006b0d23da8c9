"""`kgate bisect`: the commit at which a test's kernel became slower, found by races against builds of commits."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.verb.bisect.chain import Commit
from pytest_kgate.evaluation.verb.bisect.chain import chain
from pytest_kgate.evaluation.verb.bisect.course import Answer
from pytest_kgate.evaluation.verb.bisect.course import suspects
from pytest_kgate.evaluation.verb.bisect.step import step
from pytest_kgate.evaluation.verb.session import judged
from pytest_kgate.report import format as text
from pytest_kgate.search.verbs.arguments import add_pytest
from pytest_kgate.search.verbs.arguments import duration

_INTERRUPTED = 130
"""The exit status after Ctrl-C: what is known by then is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Find the first commit at which a test's kernel was as slow as it is now. The kernel is raced, as it lies on "
        "disk, against its own build at a commit between --good and --bad, which halves them; the margin is that of "
        "the test's regression marker, or 1 %. What stays undecided is raced once more for longer, and then left out. "
        "No checkout is made. Exit status 1 where no single commit was found."
    )
    parser.add_argument("test", metavar="NODEID", help="the test, as pytest takes it")
    parser.add_argument("--good", metavar="REV", required=True, help="a commit at which the kernel was faster")
    parser.add_argument(
        "--bad",
        metavar="REV",
        default="HEAD",
        help="a later one, at which it was as slow as it is now; default: %(default)s",
    )
    parser.add_argument(
        "--budget", metavar="TIME", type=duration, default=duration("10m"), help="such as 90s or 1h; default: 10m"
    )
    add_pytest(parser, "--kgate-device=host")


def run(options: argparse.Namespace) -> int:
    """Bisect, and print what each step has found; returns 0 where one commit is left."""
    path = Path(options.test.partition("::")[0]).absolute()
    if not path.exists():
        raise UsageError(f"There is no file {path}.", "Name the test as pytest takes it: tests/test_mine.py::test_it.")
    good, commits = chain(path if path.is_dir() else path.parent, options.good, options.bad)
    end = time.monotonic() + options.budget
    asked: list[Commit] = []
    status = 1

    def ask(one: Commit) -> Answer | None:
        nonlocal status
        if time.monotonic() > end:
            print("The budget is spent.", flush=True)
            return None
        try:
            found = step(options.test, one.commit, options.pytest, judged)
        except KeyboardInterrupt:
            print("Interrupted.", flush=True)
            status = _INTERRUPTED
            return None
        asked.append(one)
        print(f"{one.title}: {found.told}", flush=True)
        return found.answer

    first = ask(good)
    if first is None:
        print(f"Nothing is known yet: {options.test} was not raced against {good.title}.")
        return status
    if first != "fast":
        said = "is not slower now than at" if first == "slow" else "could not be raced to a decision against"
        print(f"{options.test} {said} {good.title}: there is nothing to find.")
        return status
    last = ask(commits[-1])
    if last == "fast":
        raise UsageError(
            f"The kernel was faster at {commits[-1].title} than it is now.",
            "What is on disk is what is raced: name in --bad a commit that has it, and commit what is not committed.",
        )
    ends = len(asked)
    left = commits if last is None else suspects(commits, ask)
    steps = len(asked) - ends
    if len(left) == 1:
        print(f"The first slower commit, after {text.counted(steps, 'step')}: {left[0].title}")
        return status if status == _INTERRUPTED else 0
    print(f"The first slower commit is one of these {len(left)}, after {text.counted(steps, 'step')}:")
    print("\n".join(f"  {one.title}" for one in left))
    return status
