"""The gates that markers set, and the judgements on them. Pure data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.statistics.estimates import Interval

if TYPE_CHECKING:
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gate_facts import GateVerdict
    from pytest_kgate.statistics.gate_facts import IntervalFacts


class Verdict(str, enum.Enum):
    """The outcome of one gate: PASS, FAIL, or one of two ways to be undecided."""

    _value_: GateVerdict

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
    rule: str = "sequential"
    """`sequential`: the interval over blocks and the classic rule must both hold. `classic`: only the latter,
    once, at the end of the race; it knows PASS and FAIL only, and its error rate is not controlled."""

    def at_least(self, confidence: float | None) -> SpeedGate:
        """This gate at this confidence, where that is more than its own."""
        return self if confidence is None else replace(self, confidence=max(self.confidence, confidence))

    def at_attempt(self, number: int) -> SpeedGate:
        """This gate with the confidence that the `number`-th run of its test must have, from 1.

        Every try may err half as often as the one before, so that trying until it passes errs at most twice as
        often as a single try, however many tries there are.
        """
        halvings = min(number - 1, 20)  # by then one in a million of the first; beyond, float64 has no room
        return replace(self, confidence=1 - (1 - self.confidence) / 2**halvings)


LARGEST_SHARE = 1.5
"""Of the measured roofline that can be demanded: the best kernel may do somewhat better than what was measured by."""


@dataclass(frozen=True)
class SpeedOfLightGate:
    """`@pytest.mark.speed_of_light(bound)`: measured roofline's floor / candidate latency must be at least `bound`."""

    bound: float
    confidence: float = 0.95

    def at_least(self, confidence: float | None) -> SpeedOfLightGate:
        """As `SpeedGate.at_least`."""
        return self if confidence is None else replace(self, confidence=max(self.confidence, confidence))

    def at_attempt(self, number: int) -> SpeedOfLightGate:
        """This gate at the `number`-th run of its test, as `SpeedGate.at_attempt`."""
        return replace(self, confidence=SpeedGate(1.0, confidence=self.confidence).at_attempt(number).confidence)


@dataclass(frozen=True)
class ErrorGate:
    """`@pytest.mark.allclose(atol)`: |candidate - exact| <= atol + rtol |exact| for every element, on every draw.

    The error must also be near the reference's own: a tolerance that suits one shape hides wrong answers on another.
    """

    atol: float
    rtol: float = 0.0
    factor: float | None = None
    """How many times the reference's rms error the candidate's may be; None for the default of the output's type."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one gate, and the interval, p values and rounds that it rests on."""

    gate: SpeedGate
    verdict: Verdict
    reason: str
    """Why the gate did not pass, in a sentence or two; empty on PASS."""
    rounds: int
    """Rounds the race had taken."""
    look: int | None = None
    """Index in `gate_facts.LOOKS` of the look that the numbers below come from; None before the first."""
    ratio: Interval | None = None
    """The deciding interval of the latency ratio, `exp(mean +- critical value * se)` at this look."""
    ratio_of_medians: float | None = None
    """Candidate over reference: all samples' medians, or the median of the rounds' quantiles."""
    bootstrap_ratio: Interval | None = None
    bootstrap_difference: Interval | None = None
    """Seconds: median of the candidate less max(1, bound) times the median of the reference."""
    autocorrelation: float | None = None
    """Lag-1 autocorrelation of the twelve block means."""
    p_value: float | None = None
    """One-sided p of `ratio >= bound` at this look alone; PASS needs `nominal_level`, not 0.025."""
    nominal_level: float | None = None
    sequential_p: float | None = None
    """One-sided p of `ratio >= bound` over all looks so far; `group_sequential.sequential_p`. None under `classic`."""
    rounds_to_decide: int | None = None
    """Of an undecided race: how many rounds would likely decide it; None where more rounds are unlikely to."""

    def to_dict(self) -> GateFacts:
        """The judgement in built-in types, for the record."""

        def plain(interval: Interval | None) -> IntervalFacts | None:
            return None if interval is None else interval.to_dict()

        return {
            "kind": "speedup",
            "bound": self.gate.bound,
            "quantile": self.gate.quantile,
            "confidence": self.gate.confidence,
            "rule": self.gate.rule,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "rounds": self.rounds,
            "look": self.look,
            "ratio": plain(self.ratio),
            "ratio_of_medians": self.ratio_of_medians,
            "bootstrap_ratio": plain(self.bootstrap_ratio),
            "bootstrap_difference_seconds": plain(self.bootstrap_difference),
            "autocorrelation": self.autocorrelation,
            "p_value": self.p_value,
            "nominal_level": self.nominal_level,
            "sequential_p": self.sequential_p,
            "rounds_to_decide": self.rounds_to_decide,
        }
