"""How good a kernel searches find: on a made-up space with few builds, and on spaces of real kernels, all recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace

from pytest_kgate.search.course.course import Result
from pytest_kgate.search.course.course import search
from pytest_kgate.search.course.halving import STAGES
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.course.simulation import landscapes
from pytest_kgate.search.course.simulation.claims import QUIET
from pytest_kgate.search.course.simulation.claims import VERB
from pytest_kgate.search.course.simulation.evaluator import SimulatedEvaluator
from pytest_kgate.search.course.simulation.recorded import Recorded
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.elites import Elites
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.strategies.choice import Name
from pytest_kgate.search.strategies.choice import strategy
from pytest_kgate.search.strategies.evolve import Parts

BUILDS = 32
"""Candidates that a search of the made-up space may build, of 128."""

NEAR = 0.01
"""A finalist is near the best where it is at most 1 % slower."""

EVALUATIONS = (100, 200)
"""After which the best of a recorded space is looked at."""


@dataclass(frozen=True)
class Way:
    """One strategy, whole or with a part of it switched off."""

    title: str
    name: Name
    parts: Parts | None = None
    stages: tuple[int, ...] = STAGES


_WHOLE = Parts()

WAYS: Mapping[str, Way] = {
    "random": Way("random", "random"),
    "local": Way("local", "local"),
    "evolve": Way("evolve", "evolve"),
    "evolve-verb": Way("evolve, twelve rounds a screening", "evolve", stages=VERB.stages),
    "no-model": Way("evolve without the model", "evolve", replace(_WHOLE, model=False)),
    "no-climbs": Way("evolve without climbs", "evolve", replace(_WHOLE, steps=0)),
    "no-mutations": Way("evolve without mutations", "evolve", replace(_WHOLE, mutations=0)),
    "no-crossovers": Way("evolve without crossovers", "evolve", replace(_WHOLE, crossovers=0)),
    "no-immigrants": Way("evolve without immigrants", "evolve", replace(_WHOLE, immigrants=0)),
    "one-start": Way("evolve from one start", "evolve", replace(_WHOLE, starts=1)),
    "tpe": Way("tpe", "tpe"),
}
"""By name."""


def near(way: Way, seed: int) -> bool:
    """Whether a search of the seed's made-up space confirms one near the best, after so many builds."""
    truth = landscapes.kernels(seed)
    result = _search(landscapes.SPACE, truth, way, seed, BUILDS, _Best(()))
    confirmed = result.confirmation
    return confirmed is not None and truth[confirmed.configuration] <= min(truth.values()) + math.log1p(NEAR)


def best_found(recorded: Recorded, way: Way, seed: int) -> list[float]:
    """The performance, 1 for the best of all, of what a search holds for the best after 100 and 200 evaluations."""
    best = _Best(EVALUATIONS)
    _search(recorded.space, recorded.truth(), way, seed, EVALUATIONS[-1], best)
    return [recorded.performance(one) for one in best.found]


class _Best:
    """Notes the best elite after so many candidates."""

    def __init__(self, after: tuple[int, ...]) -> None:
        self.found: list[Configuration] = []
        self._after = after
        self._told = 0

    def __call__(self, trial: Trial, elites: Elites) -> None:
        self._told += 1
        if self._told in self._after:
            self.found.append(elites.trials[0].configuration)


def _search(
    space: Space, truth: Mapping[Configuration, float], way: Way, seed: int, evaluations: int, told: _Best
) -> Result:
    return search(
        space,
        strategy(way.name, space, seed, way.parts),
        SimulatedEvaluator(truth, QUIET, seed),
        Journal(Head("", way.name, seed), Scope()),
        budget=Budget(evaluations=evaluations),
        policy=Policy(stages=way.stages, processes=3),
        told=told,
    )
