"""`kgate confirm`: judge another candidate of a search by the tests' own gates, which pays for being another try."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.search.board.said import board
from pytest_kgate.search.board.said import champion_of
from pytest_kgate.search.board.said import places_of
from pytest_kgate.search.journal.champions import FILE_NAME
from pytest_kgate.search.journal.champions import record_champion
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.prompts.judging import SourceSpace
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.prompts.replies.stored import id_of
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.evaluator import ChildEvaluator
from pytest_kgate.search.running.evaluator import Seen
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.running.subject import subject_of
from pytest_kgate.search.space.assignments import parse_knobs
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.verbs import arguments
from pytest_kgate.search.verbs.sources import STRATEGY
from pytest_kgate.search.verbs.sources import Sources

if TYPE_CHECKING:
    from pytest_kgate.search.running.executors.pool import Pool

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
    try:
        asked = head["options"]
        judge = Judge(asked["argument"], str(Path.cwd()), tuple(asked["pytest"]), asked["time_limit"])
        entry = asked["entry"] if head["strategy"] == STRATEGY else None
    except KeyError as error:
        raise UsageError(
            f"{options.journal} does not say with which {error} it was made, so that nothing can be confirmed.",
            "Begin a new search in another file.",
        ) from error
    pool, ahead = LocalPool(), BuildsAhead()
    try:
        if entry is None:
            searched = _over_knobs(judge, pool, ahead, options.journal)
        else:
            searched = _over_sources(judge, pool, ahead, options.journal, entry)
        same = Head(searched.test, head["strategy"], head["seed"], head["space"], asked)
        journal = Journal.open(options.journal, same, searched.scope, resume=True)
        try:
            for notice in journal.notices:
                print(f"kgate: {notice}", file=sys.stderr)
            configuration = candidate_of(options, journal, searched.space)
            alpha = journal.pay(configuration)
            print(f"confirming {configuration.title} at an error rate of {100 * alpha:g} %", file=sys.stderr)
            confirmation = searched.evaluator.confirm(configuration, alpha, options.processes)
            journal.confirmed(confirmation)
            print("\n".join(board(journal.history, arguments.width_of(options), arguments.colored())))
        finally:
            journal.close()
    finally:
        pool.close()
        ahead.close()
    if not confirmation.passed:
        said = f"{confirmation.configuration.title} was not confirmed this time: {confirmation.reason}"
        print("\n".join(wrapped(said, arguments.width_of(options), "  ")))
        return _NOT_CONFIRMED
    print(searched.keep(confirmation))
    return 0


@dataclass(frozen=True)
class _Searched:
    """What a search is about, as its tests tell it now."""

    test: str
    scope: Scope
    space: Space
    evaluator: ChildEvaluator
    keep: Callable[[Confirmation], str]
    """Keeps a champion, and says where it is."""


def _over_knobs(judge: Judge, pool: Pool, ahead: BuildsAhead, journal: Path) -> _Searched:
    subject = subject_of(judge.test, pool.run(judge.build()))
    evaluator = ChildEvaluator(judge, subject.space, pool, ahead, subject.seen, names=subject.names, quiet=True)

    def keep(confirmation: Confirmation) -> str:
        file = subject.root / FILE_NAME
        record_champion(file, subject.champion(confirmation, journal.absolute()))
        return f"Written to {file}: plain runs of the test use it."

    return _Searched(subject.test, subject.scope, subject.space, evaluator, keep)


def _over_sources(judge: Judge, pool: Pool, ahead: BuildsAhead, journal: Path, entry: str) -> _Searched:
    replies = Replies(folder_of(journal))
    found, space = Sources.of(judge, pool, replies, entry), SourceSpace.of(replies)
    evaluator = ChildEvaluator(found.judge, space, pool, ahead, Seen(Configuration.of({}), ()), names=(), quiet=True)

    def keep(confirmation: Confirmation) -> str:
        reply = replies.get(id_of(confirmation.configuration))
        assert reply is not None
        return f"The champion is {replies.path(reply)}."

    return _Searched(found.test, found.scope, space, evaluator, keep)


def candidate_of(options: argparse.Namespace, journal: Journal, space: Space) -> Configuration:
    """The named candidate, or the first of the board that has not been confirmed; nothing is paid for any other."""
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
                "Name it as `kgate leaderboard` does: every knob, with one of its values.",
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
