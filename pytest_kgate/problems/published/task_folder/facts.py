"""What a record says of a problem that was read from a task folder of gpu-mode/reference-kernels."""

from __future__ import annotations

from typing import Any
from typing import TypedDict


class TaskFolderFacts(TypedDict):
    """The task and its case, and what was done with them."""

    folder: str
    """Its name."""
    sha256: str
    """Of its reference.py."""
    case: str
    """A list of task.yml and a place in it, such as `benchmarks:0`; `given` where its arguments were."""
    arguments: dict[str, Any]
    """Of `generate_input`, the seed aside. Open: they are the task's."""
    check: str
    """What the task demands of answers: `match_reference` with its tolerances, or `check_implementation`."""
    handed_in: int | None
    """How many tensors of the data are memory for outputs; null before the first draw."""
    exact: str | None
    """Which type the exact answer was computed in: `float64`, or another and why; null where the call ended before
    that."""
