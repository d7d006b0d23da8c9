"""What a record says of a problem that was read from a file of KernelBench."""

from __future__ import annotations

from typing import TypedDict


class KernelBenchFacts(TypedDict):
    """The file of a KernelBench problem, and what was done with it."""

    file: str
    """Its name."""
    sha256: str
    """Of its content."""
    weights_seed: int
    """What the generators were seeded with before the models were constructed."""
    exact: str | None
    """Which type the exact answer was computed in: `float64`, or `float32 without TF32` and why; null where the call
    ended before that."""
    hard_scale: float | None
    """What inputs of hard draws are multiplied by, besides random signs; 0 where the model has no answer to those, and
    they are as published; null where there was no hard draw."""
