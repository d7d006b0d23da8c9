"""Whether two measurements may be compared: what differs between them beside the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.evaluation.apart.measurement import Run


def demand_comparable(candidates: Sequence[Measurement], references: Sequence[Measurement]) -> None:
    """Raise `UsageError` that names the first difference of two files: problems, GPU, driver, timer, cache."""
    problems = [sorted({one.problem for one in side}) for side in (candidates, references)]
    if problems[0] != problems[1]:
        alone = [sorted({*problems[side]} - {*problems[1 - side]}) for side in (0, 1)]
        parts = [
            f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} of the {which} alone"
            for names, which in zip(alone, ("candidate", "reference"), strict=True)
            if names
        ]
        raise UsageError(
            f"The two files are about different problems: {'; '.join(parts)}.",
            "Measure both with the same --shape or --shapes and --dtype.",
        )
    for candidate in candidates:
        reference = next(one for one in references if one.problem == candidate.problem)
        for name, how in _FACTS.items():
            ours, theirs = how(candidate), how(reference)
            if ours != theirs:
                raise UsageError(
                    f"The two files differ in their {name} on {candidate.problem}: the candidate's is "
                    f"{ours or 'not known'}, the reference's {theirs or 'not known'}.",
                    "Measure both again, one after the other, on one machine and in the same way.",
                )
        if any(_is_same(ours, theirs) for ours in candidate.runs for theirs in reference.runs):
            raise UsageError(
                f"The two files hold one and the same measurement of {candidate.arm} on {candidate.problem}.",
                "Measure each arm by itself; to see how far two measurements of one kernel differ, measure it twice.",
            )


def _is_same(one: Run, other: Run) -> bool:
    return one.started == other.started and np.array_equal(one.samples, other.samples)


def _of(*path: str) -> Any:
    def found(one: Measurement) -> str:
        value: Any = one.environment
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return "" if value is None else str(value)

    return found


_FACTS: dict[str, Any] = {
    "device": _of("device"),
    "GPU": _of("gpu", "name"),
    "card": _of("gpu", "uuid"),
    "driver": _of("gpu", "driver"),
    "CUDA runtime": _of("cuda_runtime"),
    "CPU": _of("cpu", "model"),
    "number of threads": _of("cpu", "torch_threads"),
    "timer": lambda one: one.timer,
    "cache": lambda one: one.cache,
}
"""By what a message calls them. A card of the same name is another: two of one kind differ by a percent and more."""
