"""What a record says of a problem that was read from a definition and a workload of flashinfer-bench."""

from __future__ import annotations

from typing import TypedDict


class FlashInferBenchFacts(TypedDict):
    """The definition and the workload, and what was done with them."""

    definition: str
    """Its name."""
    op_type: str
    sha256: str
    """Of the definition, as JSON with sorted names."""
    workload: str
    """Its uuid."""
    axes: dict[str, int]
    """All extents."""
    sources: dict[str, str]
    """For each input, where it comes from: `random`, `scalar` or `safetensors`."""
    exact: str | None
    """Which type the exact answer was computed in: `float64`, or another and why; null where the call ended before
    that."""
    hard_scale: float | None
    """What random inputs of hard draws are multiplied by, besides random signs; 0 where the reference has no answer to
    those; null where there was no hard draw."""
