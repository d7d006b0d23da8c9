"""Verdicts of a calibration's gates, counted, and how many of them may be false. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats as distributions

NOMINAL = 0.025
"""What a gate at 95 % confidence promises on either side."""

MOST = 0.035
"""Of a thousand gates and more: 25 are expected, and 35 are two standard deviations above."""

MANY = 1000

SIGNIFICANCE = 0.01
"""A count is above what 2.5 % explains where its one-sided binomial p is below this."""

Gate = Mapping[str, Any]


@dataclass(frozen=True)
class Count:
    """Verdicts of some gates."""

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
    """How many gates ended with each verdict."""
    found = [str(gate["verdict"]) for gate in gates]
    return Count(
        gates=len(found),
        passed=found.count("PASS"),
        failed=found.count("FAIL"),
        undecided=found.count("INCONCLUSIVE"),
        broken=found.count("INVALID") + found.count("ERROR"),
    )


def excess_p_value(false: int, gates: int) -> float:
    """Chance of so many false verdicts, or more, where each gate errs in 2.5 %."""
    return float(distributions.binomtest(false, gates, NOMINAL, alternative="greater").pvalue) if gates else 1.0


def most_allowed(gates: int) -> int:
    """How many of so many gates may err on one side: 35 of 1,000; of fewer, what 2.5 % explains."""
    if gates >= MANY:
        return int(MOST * gates + 1e-9)
    allowed = 0
    while allowed < gates and excess_p_value(allowed + 1, gates) >= SIGNIFICANCE:
        allowed += 1
    return allowed
