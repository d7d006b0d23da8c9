"""`kgate search --provider`: candidates are sources that a program writes, each isolated and judged by the test."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.format import ratio
from pytest_kgate.search.course.course import INTERRUPTED
from pytest_kgate.search.course.course import Result
from pytest_kgate.search.course.course import search
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.prompts.provided import Prompter
from pytest_kgate.search.prompts.provided import provided
from pytest_kgate.search.prompts.provider import Provider
from pytest_kgate.search.prompts.replies.reply import DEVICE_OF_SUFFIX
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.prompts.replies.stored import id_of
from pytest_kgate.search.prompts.writing import MODES
from pytest_kgate.search.running.executors.spec import open_pool
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.running.progress import Progress
from pytest_kgate.search.running.progress import budget_text
from pytest_kgate.search.running.progress import hang_text
from pytest_kgate.search.verbs import arguments
from pytest_kgate.search.verbs.sources import STRATEGY
from pytest_kgate.search.verbs.sources import Sources
from pytest_kgate.search.verbs.tree import tree

if TYPE_CHECKING:
    from pytest_kgate.search.course.limits import Budget

_STAGES = (12,)
_ENDLESS = 10**6
"""Candidates of a provider, where nothing says how many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that go with a provider."""
    group = parser.add_argument_group("sources from a provider", "instead of a search marker's knobs; docs/search.md")
    group.add_argument(
        "--provider",
        metavar="COMMAND",
        help="a program that reads a prompt and prints a source; no shell starts it",
    )
    group.add_argument("--provider-limit", type=arguments.duration, default=600.0, metavar="TIME", help="default: 10m")
    group.add_argument("--mode", choices=MODES, default="full", help="of its prompts; default: %(default)s")
    group.add_argument("--templates", type=Path, metavar="DIR", help="files in the place of ours for its prompts")
    group.add_argument("--source", type=Path, metavar="FILE", help="a source to begin with: .cu, .cpp or .py")
    group.add_argument("--entry", default="candidate", metavar="NAME", help="the function of a Python source")


def run(options: argparse.Namespace, budget: Budget) -> int:
    """Search, and say what became of each reply; returns 0 where a champion was confirmed, 1, or 130 after Ctrl-C."""
    if options.strategy is not None:
        raise UsageError("--provider cannot go with --strategy: the provider proposes.", "Use one of them.")
    provider = Provider.parse(options.provider, options.provider_limit)
    source = _begun(options.source)
    replies = Replies(folder_of(options.journal))
    if len(replies) and not options.resume:
        raise UsageError(f"{replies.folder} holds replies of a search.", "Use --resume, or name another --journal.")
    pool = open_pool(options.executor, options.jobs)
    try:
        own = Judge(options.test, str(Path.cwd()), tuple(options.pytest), options.time_limit)
        found = Sources.of(own, pool, replies, options.entry)
        test, facts = found.test, found.facts
        suffix = options.source.suffix if options.source else ".cpp" if found.on_host else ".cu"
        prompter = Prompter(test, replies, suffix, options.mode, found.records, facts, source, options.templates)
        space, strategy, evaluator = provided(provider, prompter, found.judge, pool, quiet=found.on_host)
        asked = {
            "argument": options.test,
            "pytest": options.pytest,
            "time_limit": options.time_limit,
            "entry": options.entry,
            "provider": provider.command[0],
            "mode": options.mode,
        }
        head = Head(test, STRATEGY, 0, {"facts": dict(facts)}, asked)
        journal = Journal.open(options.journal, head, found.scope, resume=options.resume)
        progress = Progress(evaluator, budget, options.evaluations or _ENDLESS, time.monotonic, together=False)
        asking = f"{test}: asking {os.path.basename(provider.command[0])}, budget {budget_text(budget)}"
        for line in (asking, hang_text(budget, own.limit_seconds)):
            print(line, file=sys.stderr, end="\n" if line else "")
        try:
            policy = Policy(options.elites, _STAGES, processes=options.processes)
            result = search(space, strategy, progress, journal, budget=budget, policy=policy, told=progress.told)
        finally:
            progress.done()
            journal.close()
    finally:
        pool.close()
    print("\n".join(_lines(result, replies)))
    if options.tree:
        print("\n".join(["", *tree(journal.history, options.journal, arguments.width_of(options))]))
    return 130 if result.stopped == INTERRUPTED else 0 if result.champion is not None else 1


def _begun(source: Path | None) -> str | None:
    if source is None:
        return None
    if source.suffix not in (*DEVICE_OF_SUFFIX, ".py"):
        raise UsageError(f"{source} is no source of a kernel.", "Name one that ends in .cu, .cpp or .py.")
    try:
        return source.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{source} can't be read: {error.strerror}.", "Name a source.") from error


def _lines(found: Result, replies: Replies) -> Iterable[str]:
    """What became of each reply, and the champion."""
    for trial in found.trials:
        id, objective = id_of(trial.configuration), trial.objective
        told = trial.reason or (f"ratio about {ratio(math.exp(objective.log_ratio))}" if objective else "")
        yield f"{id}  {trial.state:<11}  {told}"
    yield f"The search ended: {found.stopped}."
    spent = f"{100 * found.alpha_spent:.3g} %"
    if found.champion is None:
        why = found.confirmation.reason if found.confirmation else "none was right and raced"
        yield f"No champion: {why}. Confirmations had a chance of {spent} to err in all."
        return
    reply = replies.get(id_of(found.champion.configuration))
    assert reply is not None
    ratios = ", ".join(f"{name} {ratio(one)}" for name, (one, _, _) in found.champion.ratios.items())
    yield f"Champion: {replies.path(reply)}, {ratios}; confirmed with a chance of {spent} to err."
