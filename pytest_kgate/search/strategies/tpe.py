"""Tree-structured Parzen estimators, by Optuna (Akiba et al., KDD 2019), which is an extra of this package."""

from __future__ import annotations

import math
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

_TRIES = 200
"""Proposals in a row that were refused or made before, after which chance takes over."""


def optuna_module() -> Any:
    """Optuna; raises `UsageError` where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "The strategy tpe needs Optuna, which is not installed.",
            "pip install 'pytest-kgate[optuna]', or choose another strategy.",
        ) from error
    return optuna


class Tpe:
    """Proposes what Optuna's sampler does; constraints and repetitions are told to it at once."""

    def __init__(self, space: Space, seed: int) -> None:
        optuna = optuna_module()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        # Values are categories, their places: knobs mix text, numbers and switches, and few are evenly spaced.
        self._choices: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(tuple(range(len(space.values(name)))))
            for name in space.names
        }
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        self._study = optuna.create_study(sampler=sampler)
        self._space = space
        usual = space.default.as_dict()
        self._study.enqueue_trial({name: space.values(name).index(usual[name]) for name in space.names})
        self._scores: dict[Configuration, float] = {}
        self._waiting: dict[Configuration, Any] = {}
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether it found nothing new in many tries."""
        return self._exhausted

    def ask(self, count: int) -> list[Configuration]:
        """New proposals; none while trials of the last ones are missing."""
        if self._waiting:
            return []
        for _ in range(_TRIES if count else 0):
            if len(self._waiting) == count:
                break
            proposal = self._study.ask(self._choices)
            one = Configuration.of({name: self._space.values(name)[place] for name, place in proposal.params.items()})
            if one in self._waiting or self._space.refusal(one) is not None:
                self._study.tell(proposal, state=self._failed)
            elif one in self._scores:
                self._finish(proposal, self._scores[one])
            else:
                self._waiting[one] = proposal
        self._exhausted = bool(count) and not self._waiting
        return list(self._waiting)

    def tell(self, trial: Trial) -> None:
        """Learn what became of a candidate."""
        one = trial.configuration
        self._scores[one] = score(trial)
        self._finish(self._waiting.pop(one), self._scores[one])

    def parents(self, configuration: Configuration) -> tuple[Configuration, ...]:
        """None: each proposal rests on all that is known."""
        return ()

    def _finish(self, proposal: Any, found: float) -> None:
        if math.isfinite(found):
            self._study.tell(proposal, found)
        else:
            self._study.tell(proposal, state=self._failed)
