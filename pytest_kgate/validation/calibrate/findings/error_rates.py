"""Count the verdicts of a calibration's gates, and test whether more of them are false than promised. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kgate.statistics.intervals.binomial import at_least

NOMINAL = 0.025
"""The error rate that a gate at 95 % confidence promises on either side."""

MOST = 0.035
"""The largest rate of false verdicts in a thousand gates or more: 25 are expected, and 35 are two standard deviations
above."""

MANY = 1000

SIGNIFICANCE = 0.01
"""A count is above what 2.5 % explains where its one-sided binomial p is below this."""

Gate = Mapping[str, Any]


@dataclass(frozen=True)
class Count:
    """Number of gates, and of those that ended with each kind of verdict."""

    gates: int
    passed: int = 0
    failed: int = 0
    undecided: int = 0
    broken: int = 0
    """INVALID and ERROR."""

    @property
    def judged(self) -> int:
        """Gates that ended with a verdict on the ratio: the denominator of every rate."""
        return self.gates - self.broken

    def explained(self, count: int) -> bool:
        """Whether so many false verdicts are no surprise where each gate errs in 2.5 % (one-sided binomial test)."""
        return excess_p_value(count, self.judged) >= SIGNIFICANCE


def count(gates: Sequence[Gate]) -> Count:
    """Count the verdicts of these gates."""
    found = [str(gate["verdict"]) for gate in gates]
    return Count(
        gates=len(found),
        passed=found.count("PASS"),
        failed=found.count("FAIL"),
        undecided=found.count("INCONCLUSIVE"),
        broken=found.count("INVALID") + found.count("ERROR"),
    )


def excess_p_value(false: int, gates: int) -> float:
    """Probability of at least so many false verdicts where each gate errs with 2.5 % (one-sided binomial)."""
    return at_least(false, gates, NOMINAL) if gates else 1.0


def most_allowed(gates: int) -> int:
    """How many of so many gates may err on one side: 35 of 1,000; of fewer, what 2.5 % explains."""
    if gates >= MANY:
        return int(MOST * gates + 1e-9)
    allowed = 0
    while allowed < gates and excess_p_value(allowed + 1, gates) >= SIGNIFICANCE:
        allowed += 1
    return allowed
