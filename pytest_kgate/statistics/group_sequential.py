"""Group-sequential boundaries: when a race is judged, and what the t statistic must clear at each of the looks. Pure.

All looks together err as rarely as a single test at the same confidence would.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
from scipy import special

from pytest_kgate.statistics.estimates import BLOCKS
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.gate_facts import LOOKS

SAMPLES = 10
"""Samples of each arm in a round, where the budget has room for as many in each round up to the last look."""

SPENDING_POWER = 1.5
"""Kim-DeMets spending alpha * t**1.5: 4 % of alpha at the first look, 65 % at the last."""


def look_at(rounds: int) -> int | None:
    """Index of the latest look that `rounds` rounds have reached; None before the first."""
    reached = [look for look, needed in enumerate(LOOKS) if rounds >= needed]
    return reached[-1] if reached else None


@dataclass(frozen=True)
class _Stage:
    """One look of a race, whose partial sums are taken as a Brownian motion, on the side of a PASS."""

    spent: float
    """Probability of having crossed the boundary at an earlier look."""
    position: Floats
    mass: Floats
    """Density, at the look before, of the paths that have not crossed: nodes and weights of a quadrature."""
    step: float
    """Standard deviation of the way from there to this look."""
    scale: float
    """Standard deviation of the motion at this look."""
    bound: float
    """The boundary at this look: a path above it crosses."""

    def beyond(self, bound: float) -> float:
        """Probability of being above `bound` at this look without having crossed the boundary before."""
        return float(self.mass @ special.ndtr((self.position - bound) / self.step))


@functools.cache
def _boundary(confidence: float) -> tuple[_Stage, ...]:
    """The boundary of the looks, by recursive integration of the density of the paths not yet stopped.

    Armitage, McPherson and Rowe, JRSS A 132, 1969. One-sided alpha is (1 - confidence) / 2 and is spent as
    alpha * t**1.5 at information t = 1/8, 1/4, 1/2, 1 (Kim and DeMets, Biometrika 74, 1987).
    """
    alpha = (1 - confidence) / 2
    # Gauss-Legendre: the integrands are smooth on (-8 sd, boundary), so 200 nodes give more than ten digits.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    looks: list[_Stage] = []
    position, mass = np.zeros(1), np.ones(1)  # the paths still running: all of them at 0
    before, spent = 0.0, 0.0
    for t in (rounds / LOOKS[-1] for rounds in LOOKS):
        open_look = _Stage(spent, position, mass, math.sqrt(t - before), math.sqrt(t), math.inf)
        spend = alpha * t**SPENDING_POWER - spent
        bound = _bound(open_look, spend)
        looks.append(replace(open_look, bound=bound))
        low = -8.0 * math.sqrt(t)
        grid = low + (bound - low) * (nodes + 1) / 2
        z = (grid[:, None] - position[None, :]) / open_look.step
        density = np.exp(-z * z / 2) @ mass / (open_look.step * math.sqrt(2 * math.pi))
        position, mass = grid, density * weights * (bound - low) / 2
        before, spent = t, spent + spend
    return tuple(looks)


def _bound(look: _Stage, spend: float) -> float:
    """The boundary at which the probability of crossing at this look is `spend`.

    By bisection, because `scipy.optimize` takes every session 0.2 s to import.
    """
    low, high = 0.0, 12.0 * look.scale
    while high - low > 1e-13:
        middle = (low + high) / 2
        low, high = (middle, high) if look.beyond(middle) > spend else (low, middle)
    return high


@functools.cache
def critical_values(confidence: float) -> tuple[float, ...]:
    """The critical value of each look: by how many standard errors the mean must clear the bound, on either side.

    The nominal one-sided p of each look's boundary is carried over to the t distribution of twelve blocks.
    """
    nominal = [special.ndtr(-look.bound / look.scale) for look in _boundary(confidence)]
    return tuple(-float(special.stdtrit(BLOCKS - 1, level)) for level in nominal)


def sequential_p(t: float, look: int, confidence: float) -> float:
    """The one-sided p value of a race that ended at this look, `t` standard errors on the winning side.

    It is the probability, where the true ratio is the bound itself, to cross at an earlier look or to be at least as
    far at this one: the stage-wise ordering of Fairbanks and Madsen (Biometrika 69, 1982), in which an earlier win is
    the stronger one. The p value of a look alone is no valid one, for the race chose the look by its value. The result
    is at most (1 - confidence) / 2 exactly where the boundary is crossed. Crossing to the losing side counts as going
    on, which errs towards caution, as the boundary itself does.
    """
    at = _boundary(confidence)[look]
    z = -float(special.ndtri(special.stdtr(BLOCKS - 1, -t)))
    return min(1.0, at.spent + at.beyond(z * at.scale))
