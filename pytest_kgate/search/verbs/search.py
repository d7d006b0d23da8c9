"""`kgate search`: the fastest of a test's configurations, claimed with a known error rate."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.format import counted
from pytest_kgate.report.text.render import say
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.search.board.said import board
from pytest_kgate.search.course.course import INTERRUPTED
from pytest_kgate.search.course.course import Result
from pytest_kgate.search.course.course import search
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.journal.champions import FILE_NAME
from pytest_kgate.search.journal.champions import record_champion
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.builds.ahead import spare_cores
from pytest_kgate.search.running.evaluator import ChildEvaluator
from pytest_kgate.search.running.executors.spec import HELP
from pytest_kgate.search.running.executors.spec import open_pool
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.running.progress import Progress
from pytest_kgate.search.running.progress import budget_text
from pytest_kgate.search.running.progress import hang_text
from pytest_kgate.search.running.subject import Subject
from pytest_kgate.search.running.subject import subject_of
from pytest_kgate.search.strategies.choice import SWITCHES
from pytest_kgate.search.strategies.choice import chosen
from pytest_kgate.search.strategies.choice import parts
from pytest_kgate.search.strategies.choice import strategy
from pytest_kgate.search.strategies.tpe import optuna_module
from pytest_kgate.search.verbs import arguments
from pytest_kgate.search.verbs import provided
from pytest_kgate.search.verbs.tree import tree

if TYPE_CHECKING:
    from pytest_kgate.search.running.executors.pool import Pool

_BUDGET_SECONDS = 600.0
"""Where neither seconds nor evaluations are named."""

_STAGES = (12,)
"""Rounds of a screening. Fewer would save a tenth of a second of racing, of a process that takes seconds to start."""

_CONFIRMED, _NOTHING, _INTERRUPTED = 0, 1, 130
"""Exit statuses."""

_STRATEGIES = ("auto", "grid", "evolve", "local", "random", "tpe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Search among the knobs of a test's search marker for the fastest kernel that is right. Estimates steer the "
        "search; one confirmation on fresh processes and seeds makes the champion, which is written to "
        f"{FILE_NAME}. The exit status is 0 where a champion was confirmed, 1 where none was, 2 where the search makes "
        "no sense, 130 after Ctrl-C: --resume goes on."
    )
    parser.add_argument("test", metavar="NODEID", help="the test, as pytest takes it; without brackets all its shapes")
    parser.add_argument(
        "--budget", type=arguments.duration, metavar="TIME", help="for all of it, such as 90s, 10m or 1h; default: 10m"
    )
    parser.add_argument("--evaluations", type=arguments.count, metavar="N", help="candidates to evaluate at most")
    parser.add_argument(
        "--generations", type=arguments.count, metavar="N", help="end once so many of 8 candidates changed no elite"
    )
    parser.add_argument(
        "--strategy", choices=_STRATEGIES, help="default: auto, all of it where the builds fit, or evolve"
    )
    parser.add_argument(
        "--without",
        type=lambda text: text.split(","),
        default=[],
        metavar="PART[,PART]",
        help=f"of evolve, to see what it gives: {', '.join(SWITCHES)}",
    )
    parser.add_argument("--elites", type=arguments.count, default=4, metavar="K", help="default: %(default)s")
    parser.add_argument(
        "--processes",
        type=arguments.processes,
        default=5,
        metavar="N",
        help="of the confirmation; default: %(default)s",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of what is proposed; default: another one each time")
    parser.add_argument(
        "--journal", type=Path, default=Path("search.jsonl"), metavar="FILE", help="what it did; default: %(default)s"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search of the journal")
    parser.add_argument("--tree", action="store_true", help="show the elites with their ancestors at its end")
    parser.add_argument("--executor", default="local", metavar="SPEC", help=f"{HELP}; default: %(default)s")
    parser.add_argument(
        "--jobs", type=arguments.count, metavar="N", help="candidates at a time, each on a GPU of its own; default: 1"
    )
    parser.add_argument(
        "--time-limit", type=arguments.duration, default=300.0, metavar="TIME", help="for one candidate; default: 5m"
    )
    parser.add_argument(
        "--spills",
        type=arguments.amount,
        default=0,
        metavar="BYTES",
        help="of a thread that a candidate may have; default: none",
    )
    arguments.add_pytest(parser)
    arguments.add_width(parser)
    provided.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Search, show what came of it, and record the champion; returns 0, 1 or 130."""
    parts(options.elites, options.without)  # raises where there is no such part, before anything is run
    if options.strategy == "tpe":
        optuna_module()  # likewise
    if options.provider is not None:
        return provided.run(options, _budget(options))
    judge = Judge(options.test, str(Path.cwd()), tuple(options.pytest), options.time_limit)
    pool = open_pool(options.executor, options.jobs)
    try:
        subject = subject_of(options.test, pool.run(judge.build()))
        journal = _journal(options, subject)
        try:
            result = _searched(options, judge, pool, subject, journal)
            return _shown(options, subject, journal, result)
        finally:
            journal.close()
    finally:
        pool.close()


def _journal(options: argparse.Namespace, subject: Subject) -> Journal:
    seconds = _budget(options).seconds
    name = options.strategy or "auto"
    if name == "auto":
        name = chosen(subject.space, seconds=seconds, evaluations=options.evaluations, builders=spare_cores())
    seed = secrets.randbits(32) if options.seed is None else options.seed
    asked = {
        "argument": options.test,
        "pytest": options.pytest,
        "time_limit": options.time_limit,
        "stages": _STAGES,
        "elites": options.elites,
        "without": options.without,
        "source": subject.source,
    }
    head = Head(subject.test, name, seed, subject.space.written(), asked)
    journal = Journal.open(options.journal, head, subject.scope, resume=options.resume)
    before = journal.history.head
    for option, given in (("strategy", options.strategy), ("seed", options.seed)):
        if given not in (None, "auto", before[option]):
            journal.close()
            raise UsageError(
                f"{options.journal} is a search with --{option} {before[option]}.", f"Leave --{option} away to go on."
            )
    if options.without and options.without != before["options"].get("without"):
        journal.close()
        raise UsageError(
            f"{options.journal} is a search of another --without.", "Leave --without away to go on with it."
        )
    return journal


def _budget(options: argparse.Namespace) -> Budget:
    limited = options.evaluations is not None or options.generations is not None
    seconds = options.budget if options.budget is not None or limited else _BUDGET_SECONDS
    return Budget(seconds, options.evaluations, options.generations)


def _searched(options: argparse.Namespace, judge: Judge, pool: Pool, subject: Subject, journal: Journal) -> Result:
    for notice in journal.notices:
        print(f"kgate: {notice}", file=sys.stderr)
    budget, head = _budget(options), journal.history.head
    ahead = BuildsAhead()
    evaluator = ChildEvaluator(
        judge,
        subject.space,
        pool,
        ahead,
        subject.seen,
        names=subject.names,
        quiet=subject.on_host,
        spill_bytes=options.spills,
    )

    def clock() -> float:
        return time.monotonic() - evaluator.waited_seconds

    made_of = parts(options.elites, head["options"].get("without", ()))
    progress = Progress(evaluator, budget, subject.space.size, clock)
    beginning = _beginning(subject, str(head["strategy"]), head["seed"], budget)
    for told in filter(None, (beginning, hang_text(budget, options.time_limit))):
        say(told, "  ", file=sys.stderr)
    try:
        return search(
            subject.space,
            strategy(head["strategy"], subject.space, head["seed"], made_of),
            progress,
            journal,
            budget=budget,
            policy=Policy(options.elites, _STAGES, processes=options.processes, width=pool.jobs),
            clock=clock,
            told=progress.told,
        )
    finally:
        progress.done()
        pool.close()
        ahead.close()


def _beginning(subject: Subject, name: str, seed: int, budget: Budget) -> str:
    size = counted(subject.space.size, "configuration")
    return f"{subject.test}: {size}, strategy {name}, seed {seed}, budget {budget_text(budget)}"


def _shown(options: argparse.Namespace, subject: Subject, journal: Journal, result: Result) -> int:
    print("\n".join(board(journal.history, arguments.width_of(options), arguments.colored())))
    if options.tree:
        print("\n".join(["", *tree(journal.history, options.journal, arguments.width_of(options))]))
    if result.champion is not None:
        file = subject.root / FILE_NAME
        record_champion(file, subject.champion(result.champion, options.journal.absolute()))
        said = f"Written to {file}: plain runs of the test use it. The journal is {options.journal}."
        print("\n".join(wrapped(said, arguments.width_of(options), "  ")))
    if result.stopped == INTERRUPTED:
        print("It was interrupted; nothing is lost. The same command with --resume goes on.")
        return _INTERRUPTED
    return _NOTHING if result.champion is None else _CONFIRMED
