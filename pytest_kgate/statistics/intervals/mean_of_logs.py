"""The mean of independent logarithms. Pure, without NumPy: verbs import it before they know whether to work."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_of_logs(logs: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """The mean of independent logarithms, and its error: theirs add up in squares.

    Raises ValueError where there are none.
    """
    if not logs:
        raise ValueError("no logarithms have no mean")
    return math.fsum(logs) / len(logs), math.sqrt(math.fsum(one**2 for one in errors)) / len(logs)
