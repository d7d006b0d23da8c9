"""What a prompt may tell, gathered from a search or from recorded sessions."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.search.prompts.facts.candidate import Candidate
from pytest_kgate.search.prompts.facts.candidate import of_record
from pytest_kgate.search.prompts.facts.candidate import of_trial
from pytest_kgate.search.prompts.facts.secrets import seeds_of
from pytest_kgate.search.prompts.facts.task import Task
from pytest_kgate.search.prompts.facts.told import Told

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.prompts.replies.stored import Replies
    from pytest_kgate.search.space.configuration import Configuration

ELITES = 4
"""That a prompt shows, at most."""


def candidates_of(
    trials: Iterable[Trial], replies: Replies | None, confirmed: Mapping[Configuration, Confirmation]
) -> list[Candidate]:
    """The candidates of a search, in its order, with what their replies say of them."""
    found = []
    for trial in trials:
        reply = replies.get(trial.source) if replies is not None else None
        found.append(of_trial(trial, reply, confirmed.get(trial.configuration)))
    return found


def with_records(candidates: Sequence[Candidate], records: Iterable[Record]) -> list[Candidate]:
    """Candidates, with counters and findings of records of the same source or knobs."""
    known = {one.id: one for one in map(of_record, records)}
    by_title = {one.title.rpartition("(")[2].rstrip(")"): one for one in known.values()}
    found = []
    for one in candidates:
        record = known.get(one.id) or by_title.get(one.title)
        if record is not None:
            one = replace(one, counters=record.counters, findings=record.findings)
        found.append(one)
    return found


def told(
    task: Task,
    candidates: Sequence[Candidate],
    suffix: str,
    records: Iterable[Record] = (),
    parents: int = 1,
    source: str | None = None,
) -> Told:
    """All that a prompt may tell of these candidates, which are in the order in which they came.

    So many of the fastest that have a source become parents. `source` is the text of one that the search does not
    hold: it stands for the fastest candidate, or for all where nothing is known.
    """
    raced = sorted((one for one in candidates if one.log_ratio is not None), key=_rank)
    best = raced[0] if raced else None
    if source is not None:
        best = replace(best or Candidate("start", "the source to begin with", "", None), source=source)
        raced = [best, *raced[1:]]
    with_source = [one for one in raced if one.source]
    return Told(
        task,
        best if best is not None and best.ratio else None,
        tuple(one for one in raced if one.ratio)[:ELITES],
        tuple(reversed(candidates)),
        tuple(with_source[:parents]),
        suffix,
        frozenset(seeds_of(records)),
    )


def _rank(one: Candidate) -> tuple[bool, float]:
    assert one.log_ratio is not None
    return one.state != "confirmed", one.log_ratio
