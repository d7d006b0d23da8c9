"""What a count of rare events among so many tries says of their rate: exact tests and limits. Pure.

They are those of `scipy.stats.binomtest`, whose import takes half a second.
"""

from __future__ import annotations

from scipy import special


def at_least(count: int, tries: int, rate: float) -> float:
    """The probability of so many events or more where each try has one with this rate."""
    return float(special.bdtrc(count - 1, tries, rate))


def at_most(count: int, tries: int, rate: float) -> float:
    """The probability of so many events or fewer where each try has one with this rate."""
    return float(special.bdtr(count, tries, rate))


def upper_limit(count: int, tries: int, confidence: float) -> float:
    """The rate below which it lies at this one-sided confidence (Clopper and Pearson)."""
    return float(special.betaincinv(count + 1, tries - count, confidence)) if count < tries else 1.0
