"""`kgate confirm`: judge another candidate of a search by the tests' own gates, which pays for being another try."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.search.board.said import board
from pytest_kgate.search.board.said import champion_of
from pytest_kgate.search.board.said import places_of
from pytest_kgate.search.journal.champions import FILE_NAME
from pytest_kgate.search.journal.champions import record_champion
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.evaluator import ChildEvaluator
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.running.subject import subject_of
from pytest_kgate.search.space.assignments import parse_knobs
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.verbs import arguments

_NOT_CONFIRMED = 1
"""The exit status where it did not pass."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Confirm one more candidate of a search, on fresh processes and seeds. All confirmations of a search share one "
        "error rate of 2.5 %: the first may pass falsely with a chance of 1.25 %, each further one with half of that "
        "of the one before. The exit status is 0 where it passes, 1 where it does not."
    )
    arguments.add_journal(parser)
    parser.add_argument(
        "--knobs",
        metavar="'NAME=VALUE ...'",
        help="the candidate; default: the best not tried yet",
    )
    parser.add_argument(
        "--processes", type=arguments.processes, default=5, metavar="N", help="fresh ones; default: %(default)s"
    )
    arguments.add_width(parser)


def run(options: argparse.Namespace) -> int:
    """Confirm, show the search as it stands then, and record a champion; returns 0 or 1."""
    head = History.of(read(options.journal)).head
    asked = head["options"]
    judge = Judge(asked["argument"], str(Path.cwd()), tuple(asked["pytest"]), asked["time_limit"])
    pool, ahead = LocalPool(), BuildsAhead()
    try:
        subject = subject_of(judge.test, pool.run(judge.build()))
        same = Head(subject.test, head["strategy"], head["seed"], head["space"], asked)
        journal = Journal.open(options.journal, same, subject.scope, resume=True)
        try:
            for notice in journal.notices:
                print(f"kgate: {notice}", file=sys.stderr)
            configuration = candidate_of(options, journal, subject.space)
            alpha = journal.pay(configuration)
            print(f"confirming {configuration.title} at an error rate of {100 * alpha:g} %", file=sys.stderr)
            evaluator = ChildEvaluator(judge, subject.space, pool, ahead, subject.seen, names=subject.names, quiet=True)
            confirmation = evaluator.confirm(configuration, alpha, options.processes)
            journal.confirmed(confirmation)
            print("\n".join(board(journal.history, arguments.width_of(options), arguments.colored())))
        finally:
            journal.close()
    finally:
        pool.close()
        ahead.close()
    if not confirmation.passed:
        return _NOT_CONFIRMED
    record_champion(subject.root / FILE_NAME, subject.champion(confirmation, options.journal.absolute()))
    print(f"Written to {subject.root / FILE_NAME}: plain runs of the test use it.")
    return 0


def candidate_of(options: argparse.Namespace, journal: Journal, space: Space) -> Configuration:
    """The one that is named, or the first of the board that has not been confirmed; nothing is paid for any other."""
    if options.knobs is not None:
        try:
            named = Configuration.of(dict(parse_knobs(options.knobs)))
        except ValueError:
            raise UsageError(
                f"--knobs {options.knobs!r} sets no knobs.", "Write names with a value each: 'BLOCK_M=64 STAGES=2'."
            ) from None
        refusal = space.refusal(named)
        if refusal is not None:
            raise UsageError(
                f"--knobs {options.knobs!r} is no candidate of the search: {refusal}.",
                "Name every knob of the marker, with one of its values.",
            )
        return named
    champion = champion_of(journal.history)
    if champion is not None:
        raise UsageError(
            f"{options.journal} has a champion: {champion.configuration.title}.",
            "Name the candidate to confirm in its place: --knobs 'NAME=VALUE ...'.",
        )
    left = [one for one in places_of(journal.history) if not one.confirmations]
    if not left:
        raise UsageError(
            f"{options.journal} has no candidate left that was raced here and not confirmed yet.",
            "Go on with the search: kgate search --resume.",
        )
    return left[0].trial.configuration
