"""A guess at candidates that were not tried, from those that were: Gaussian process regression over knobs.

Two configurations are alike where they agree in many knobs. Numbers that follow one another in a knob's list are nearer
than others; text agrees or does not. How much each knob matters is fitted to what is known, by its likelihood
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5). Candidates that failed count,
too: near them, others are likely to fail.

It orders what a strategy proposes, and claims nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from scipy import special

from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.space import Space
from pytest_kgate.statistics.estimates import Floats

_WEIGHTS = (0.03, 16.0)
"""Least and largest weight of a knob: of two candidates that differ in it alone, by its whole range, the likeness is
exp(-weight)."""

_NOISES = (1e-3, 1e-2, 1e-1, 0.5)
"""Variance of what knobs don't explain, as a share of the whole."""

_JITTER = 1e-9
"""Against the rounding of float64: the least variance, and the least difference that counts."""

_MOST_KNOWN = 300
"""Candidates that a prediction rests on, the best of them: its cost grows with their third power."""

_SUCCESS = 0.8
"""Chance that a candidate unlike any that was tried is built and right; it weighs as much as one that was tried."""


class Surrogate:
    """Predicts scores (less is better) of configurations of one space."""

    def __init__(self, space: Space) -> None:
        self._columns = [(name, _column(space.values(name))) for name in space.names]
        self._weights = np.full(len(self._columns), 0.5)
        self._noise = 1e-2

    def best(
        self, scores: Mapping[Configuration, float], pool: Sequence[Configuration], count: int
    ) -> list[Configuration]:
        """The `count` of the pool that are most worth a try, best first; a failed candidate's score is infinite.

        By the expected improvement on the best score, times the chance of success (Jones, Schonlau and Welch, Journal
        of Global Optimization 13, 1998). After each choice its score is taken to come out as predicted, so that the
        next one is not its twin.
        """
        raced = sorted((one for one, score in scores.items() if math.isfinite(score)), key=scores.__getitem__)
        raced = raced[:_MOST_KNOWN]
        known = self._places(raced)
        found = np.array([scores[one] for one in raced])
        spread = float(found.std()) or 1.0
        standard = (found - found.mean()) / spread
        self._fit(_distances(known, known), standard)
        places = self._places(pool)
        inner = self._likeness(_distances(known, known)) + self._noise * np.eye(len(raced))
        across = np.linalg.solve(np.linalg.cholesky(inner), self._likeness(_distances(known, places)))
        mean = across.T @ np.linalg.solve(np.linalg.cholesky(inner), standard)
        covariance = self._likeness(_distances(places, places)) - across.T @ across
        chance = self._chance_of_success(scores, places)
        chosen: list[int] = []
        least = float(standard.min())
        for _ in range(min(count, len(pool))):
            deviation = np.sqrt(np.maximum(covariance.diagonal(), _JITTER))
            worth = _expected_improvement(least - mean, deviation) * chance
            worth[chosen] = -1.0
            # Of what is equal but for rounding the first: another machine that goes on with a search chooses the same.
            place = int(np.argmax(np.round(worth / max(worth.max(), _JITTER), 9)))
            chosen.append(place)
            least = min(least, float(mean[place]))
            column = covariance[:, place].copy()
            covariance -= np.outer(column, column) / (covariance[place, place] + self._noise)
        return [pool[place] for place in chosen]

    def _chance_of_success(self, scores: Mapping[Configuration, float], places: list[Floats]) -> Floats:
        """Of each of the pool, by a vote of all that were tried, each as loud as it is like the one in question."""
        voters = self._likeness(_distances(self._places(list(scores)), places)) ** 2
        ayes = np.array([math.isfinite(score) for score in scores.values()], dtype=np.float64)
        chance: Floats = (_SUCCESS + ayes @ voters) / (1.0 + voters.sum(axis=0))
        return chance

    def _places(self, configurations: Sequence[Configuration]) -> list[Floats]:
        """Of each knob: where each configuration stands, (configurations, dimensions of the knob)."""
        known = [one.as_dict() for one in configurations]
        return [np.stack([column[one[name]] for one in known]) for name, column in self._columns]

    def _likeness(self, distances: Floats) -> Floats:
        return np.exp(-np.tensordot(self._weights, distances, 1))

    def _fit(self, distances: Floats, standard: Floats) -> None:
        """Move each weight, and the noise, to where what is known is likelier; one sweep at each call."""
        best = self._unlikeliness(distances, standard)
        for knob in range(len(self._weights)):
            for factor in (0.25, 4.0):
                before = self._weights[knob]
                self._weights[knob] = min(max(before * factor, _WEIGHTS[0]), _WEIGHTS[1])
                now = self._unlikeliness(distances, standard)
                if now < best - _JITTER:
                    best = now
                else:
                    self._weights[knob] = before
        for noise in _NOISES:
            before_noise, self._noise = self._noise, noise
            now = self._unlikeliness(distances, standard)
            if now < best - _JITTER:
                best = now
            else:
                self._noise = before_noise

    def _unlikeliness(self, distances: Floats, standard: Floats) -> float:
        """Negative logarithm of the likelihood, less a constant."""
        root = np.linalg.cholesky(self._likeness(distances) + self._noise * np.eye(len(standard)))
        white = np.linalg.solve(root, standard)
        return float(white @ white) / 2 + float(np.log(root.diagonal()).sum())


def _expected_improvement(gap: Floats, deviation: Floats) -> Floats:
    """The mean of max(0, gap - x) for normal x with mean 0 and this deviation."""
    z = gap / deviation
    worth: Floats = gap * special.ndtr(z) + deviation * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return worth


def _column(values: Sequence[Value]) -> dict[Value, Floats]:
    """Where each value of a knob stands; the squared distance of any two is at most 1."""
    if any(isinstance(value, str) for value in values):
        corners = np.eye(len(values)) / math.sqrt(2)
        return {value: corners[place] for place, value in enumerate(values)}
    steps = max(1, len(values) - 1)
    return {value: np.array([place / steps]) for place, value in enumerate(values)}


def _distances(one: list[Floats], other: list[Floats]) -> Floats:
    """Squared distances of each knob: (knobs, rows of one, rows of other)."""
    return np.stack([((a[:, None] - b[None]) ** 2).sum(-1) for a, b in zip(one, other, strict=True)])
