"""The p value of Student's t test that the verdicts use. Pure."""

from __future__ import annotations

import numpy as np
from scipy import special


def p_below(distance: float, se: float, freedom: float) -> float:
    """One-sided p value of an estimate that lies `distance` above a bound: P(T <= distance / se).

    `distance` and its standard error `se` have one unit, here log ratios; `freedom` counts the degrees of freedom. With
    `se` 0 the distance is exact: the result is 0 below the bound, 1 above it, and 0.5 on it.
    """
    if se == 0:
        return 0.5 * (1 + float(np.sign(distance)))
    return float(special.stdtr(freedom, distance / se))
