"""What one row of the table of metrics says: a short name, and what Nsight Compute calls it on each architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType
from typing import Literal

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Those that the table was checked for: A100, RTX 30, RTX 40 and L4, H100 and H200, B200, RTX 50."""

CHIPS: Mapping[str, str] = MappingProxyType(
    dict(zip(ARCHITECTURES, ("ga100", "ga102", "ad102", "gh100", "gb100", "gb202"), strict=True))
)
"""What `ncu --query-metrics --chips` calls them."""

Combine = Literal["sum", "max", "min", "mean"]


@dataclass(frozen=True)
class Metric:
    """A counter, or a number made of counters, of one launch."""

    name: str
    """As a `metrics` marker names it."""

    unit: str
    """`%`, `bytes`, `seconds`, `hertz`, `cycles`; else what is counted."""

    raw: tuple[str, ...]
    """Nsight Compute's names on most architectures; several are added up, one that stands twice counts twice.
    Empty for a ratio. `name[BAR]` is one instance of a metric that has a value for each opcode."""

    meaning: str
    """One sentence."""

    combine: Combine = "sum"
    """How the values of several launches make one of the whole call."""

    weight: str = ""
    """Of a mean: the name of the metric that says how much each launch counts."""

    ratio: tuple[str, ...] = ()
    """Of the quotient of two metrics, each over all launches: their short names."""

    scale: float = 1.0
    """Of a ratio: what it is multiplied with to be in `unit`."""

    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Nsight Compute's names where they are others, by architecture; an empty tuple where there is no such counter."""

    bytes_name: str = ""
    """Of a percentage: the metric that a bound in bytes or in `x` is about, under the same short name."""

    def on(self, architecture: str) -> tuple[str, ...]:
        """Its raw names on one of `ARCHITECTURES`; empty where it does not exist."""
        return self.elsewhere.get(architecture, self.raw)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that have the metric."""
        return tuple(one for one in ARCHITECTURES if self.ratio or self.on(one))
