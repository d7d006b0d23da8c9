"""The order of variants in a table: by verdict and by what is proven of their speed, or by the score."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_kgate.report.ranking.places import places
from pytest_kgate.report.ranking.score import Score
from pytest_kgate.report.ranking.score import score_of
from pytest_kgate.report.ranking.variants import Variant

By = Literal["speedup", "score"]


@dataclass(frozen=True)
class Place:
    """The places that a variant can have in its table."""

    variant: Variant
    first: int | None
    """The best place that it can have, from 1; None where its speed is not known."""
    last: int | None
    """The worst one."""
    score: Score | None

    @property
    def text(self) -> str:
        """`2`, `1-3`, or `-`."""
        if self.first is None:
            return "-"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def placed(variants: Sequence[Variant], by: By = "speedup", *, scored: bool = True) -> list[Place]:
    """The variants in their order, with their places: these follow the verdicts, and among one verdict the speedups.

    Whose speed is not known comes last. Neighbours that share their places are sorted by their resources.
    """
    known = sorted((one for one in variants if one.speedup is not None), key=lambda one: one.by_verdict)
    pairs = pairs_of(len(known))
    found: list[Place] = []
    for _, group in itertools.groupby(known, key=lambda one: one.by_verdict):
        alike, before = list(group), len(found)
        ranges = places([one.speedup for one in alike if one.speedup is not None], pairs)
        for one, (first, last) in zip(alike, ranges, strict=True):
            found.append(Place(one, before + first, before + last, score_of(one) if scored else None))
    found += [Place(one, None, None, None) for one in variants if one.speedup is None]
    ordered = _by_speedup(found)
    if by == "score":
        ordered.sort(key=lambda one: -one.score.points if one.score else float("inf"))
    return ordered


def pairs_of(count: int) -> int:
    """How many comparisons so many variants have with each other; at least 1."""
    return max(1, count * (count - 1) // 2)


def _by_speedup(found: Sequence[Place]) -> list[Place]:
    def by_end(one: Place) -> tuple[bool, tuple[bool, int], float]:
        speedup = one.variant.speedup
        return speedup is None, one.variant.by_verdict, -speedup.ends()[0] if speedup else 0.0

    result: list[Place] = []
    for _, run in itertools.groupby(
        sorted(found, key=by_end), key=lambda one: (one.variant.by_verdict, one.first, one.last)
    ):
        result += sorted(run, key=lambda one: one.variant.by_resources)
    return result
