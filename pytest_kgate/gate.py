"""What a marker demands, and whether the rounds of a race meet it. Pure: numbers in, verdict out."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(str, enum.Enum):
    """The outcome of one gate."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    """The budget ended before the interval cleared the bound."""
    INVALID = "INVALID"
    """The evidence is not to be trusted; the reason says why."""


@dataclass(frozen=True)
class SpeedGate:
    """`@pytest.mark.speedup(bound)`: candidate latency / reference latency must be below `bound`."""

    bound: float
    quantile: float = 0.5
    confidence: float = 0.95


@dataclass(frozen=True)
class ErrorGate:
    """`@pytest.mark.allclose(atol)`: |candidate - exact| <= atol + rtol |exact|, everywhere, on every draw."""

    atol: float
    rtol: float = 0.0
