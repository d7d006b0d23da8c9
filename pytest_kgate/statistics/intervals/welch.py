"""Degrees of freedom of a sum of independent estimates whose variances differ (Welch and Satterthwaite). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def welch_freedom(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Degrees of freedom of the sum of estimates, given the variance of each and the freedom of that variance.

    Where all variances are 0 the sum is exact, and the first one's degrees of freedom stand for it.
    """
    below = math.fsum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return math.fsum(variances) ** 2 / below if below > 0 else freedoms[0]
