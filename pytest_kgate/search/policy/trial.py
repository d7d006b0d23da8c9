"""What is known of one candidate of a search: its state, its estimates, or its confirmation. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType
from typing import Literal

from pytest_kgate.search.space.configuration import Configuration

State = Literal["raced", "refused", "unbuildable", "spills", "wrong", "cheats", "error", "timeout", "crash"]
"""How far a candidate came. `refused`: by a constraint of the space; `raced` alone means that answers were right."""


@dataclass(frozen=True)
class Estimate:
    """A latency ratio as a search sees it: an estimate that ranks candidates and claims nothing."""

    log_ratio: float
    """Mean over rounds of log(candidate latency / reference latency); below 0 is faster."""
    stderr: float
    """Its standard error; NaN for a single round."""
    degrees: float
    """Degrees of freedom of the standard error."""
    rounds: int
    """That it rests on."""


@dataclass(frozen=True)
class Trial:
    """What one evaluation of a candidate found."""

    configuration: Configuration
    state: State
    reason: str = ""
    """Why it was not raced, in a sentence or two; empty where it was."""
    estimates: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    """By shape or test id."""
    objective: Estimate | None = None
    """Mean of the log ratios of all shapes: the log of their geometric mean. None where it was not raced."""
    resources: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """`registers` a thread, `shared_bytes` and `spill_bytes` a block, as far as the build says."""
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What `build`, `check` and `race` took."""
    parents: tuple[str, ...] = ()
    """Ids of the configurations that it was made from."""
    source: str = ""
    """Hash of its source, where candidates of a search differ in that; else empty."""
    joint: bool = False
    """Whether it was raced in the same rounds as others."""

    @property
    def raced(self) -> bool:
        """Whether its answers were right and it has a latency."""
        return self.state == "raced" and self.objective is not None


@dataclass(frozen=True)
class Confirmation:
    """What the tests' own gates said of a finalist, on fresh processes and fresh seeds. It alone makes a champion."""

    configuration: Configuration
    passed: bool
    """Whether the gates of every shape passed."""
    alpha: float
    """One-sided chance that each gate had to pass falsely."""
    processes: int
    """Fresh processes over which each gate was judged."""
    verdicts: Mapping[str, str]
    """By shape or test id: PASS, FAIL, INCONCLUSIVE, ..."""
    ratios: Mapping[str, tuple[float, float, float]]
    """By shape or test id: latency ratio and both ends of its interval."""
    reason: str = ""
    """Why it did not pass; empty where it did."""
