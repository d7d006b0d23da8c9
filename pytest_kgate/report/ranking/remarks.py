"""What a reader of a table of places must know beside it, one sentence each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_kgate.report import format as text
from pytest_kgate.report.ranking.order import By
from pytest_kgate.report.ranking.order import Place
from pytest_kgate.report.ranking.order import pairs_of
from pytest_kgate.report.ranking.places import surely_faster
from pytest_kgate.report.ranking.score import missing_parts


def of_latest(places: Sequence[Place]) -> Iterator[str]:
    """A remark on variants that have several records."""
    for one in places:
        if one.variant.records > 1:
            yield f"Of {one.variant.name} there are {text.counted(one.variant.records, 'record')}; the latest counts."


def of_missing(places: Sequence[Place]) -> Iterator[str]:
    """A remark on scores that lack a part."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for one in places:
        if one.score is not None:
            lacking.setdefault(missing_parts(one.score), []).append(one.variant.name)
    for parts, names in lacking.items():
        if parts:
            whose = "The scores are" if len(lacking) == 1 else f"The score of {', '.join(names)} is"
            yield f"{whose} made without what was not measured: {', '.join(parts)}."
    if len(lacking) > 1:
        yield "Scores that are not made of the same parts don't compare."


def of_scores(places: Sequence[Place], by: By) -> Iterator[str]:
    """A remark on pairs that the score puts in the other order than what is proven of their speedups."""
    if by != "score":
        return
    pairs = pairs_of(sum(one.variant.speedup is not None for one in places))
    for ahead, behind in itertools.combinations(places, 2):
        one, other = ahead.variant.speedup, behind.variant.speedup
        if one is not None and other is not None and surely_faster(other, one, pairs):
            yield f"The score puts {ahead.variant.name} before {behind.variant.name}, which is proven to be faster."
