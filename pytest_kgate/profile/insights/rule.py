"""What a rule is: when it holds, how much of the time it explains, what it says and advises."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pytest_kgate.report.record.facts.insights import Confidence

Numbers: TypeAlias = Mapping[str, float]
"""As `numbers.numbers_of` has them."""

BOUNDS = ("tensor-bound", "exp-bound", "fp32-bound", "memory-bound", "l2-bound", "l1-bound")
"""Findings about the busiest unit: what a kernel is bound by once nothing else is in its way."""

LEAST_SHARE = 0.05
"""A finding that explains less of the time than this is left out: mending it would not show in a race."""


@dataclass(frozen=True)
class Rule:
    """One finding that there can be."""

    name: str
    """Of the finding: `memory-bound`."""

    condition: str
    """When it holds, in words, for the documentation."""

    needs: tuple[str, ...]
    """Names of the numbers that it looks at, which are its evidence too; where one is missing the rule is silent."""

    share: Callable[[Numbers], float]
    """Part of the time that it explains, from 0 to 1, where all that it needs is there; 0 where it does not hold."""

    finding: str
    """The sentence, with the numbers that it needs in braces, as `str.format` takes them."""

    confidence: Confidence
    """How far the numbers carry it."""

    advice: str
    """What to try next."""

    knobs: tuple[str, ...] = ()
    """Names of knobs that act on it; those that the candidate has are named behind the advice."""

    explains: tuple[str, ...] = ()
    """Names of the findings that are usual symptoms of this one. It stands before those, whatever their share."""

    alone: bool = False
    """Whether it is left out where any other rule holds."""

    source: str = ""
    """Where the threshold is from: the rule of Nsight Compute, a guide, a measurement."""
