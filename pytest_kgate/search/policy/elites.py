"""The few best candidates of a search, of which the finalist will come. Pure.

Elites are ordered by estimates, which the winner's luck flatters; they steer a search and claim nothing. What holds
whatever trials come, in whatever order:

- There are at most K, each of them raced, hence right.
- The best never gets worse, nor does the best of any macro variant. In the list of the variants' best scores no place
  ever gets worse.
- Every macro variant whose best is among the K best of all variants has a place. Only where fewer than K variants have
  been raced, the others' next best fill the places that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

_UNKNOWN = 1 << 40
"""Of a resource that the build says nothing of: behind all that are known."""


def score(trial: Trial) -> float:
    """What trials are ordered by, least first: the mean log ratio; infinite where it was not raced."""
    return trial.objective.log_ratio if trial.state == "raced" and trial.objective is not None else math.inf


def thrift(trial: Trial) -> tuple[int, int]:
    """What decides between equals, least first: registers, then shared memory."""
    resources = trial.resources
    return resources.get("registers", _UNKNOWN), resources.get("shared_bytes", _UNKNOWN)


def _order(trial: Trial) -> tuple[float, tuple[int, int], tuple[object, ...]]:
    knobs = tuple((name, str(value)) for name, value in trial.configuration.knobs)
    return score(trial), thrift(trial), (*knobs, trial.source)


@dataclass(frozen=True)
class Elites:
    """The best candidates so far, at most `most` of them, best first."""

    most: int
    macro_of: Callable[[Configuration], Hashable]
    """The macro variant of a configuration: what of it changes the algorithm rather than its tuning."""
    trials: tuple[Trial, ...] = ()
    """Best first."""

    def with_trial(self, trial: Trial) -> Elites:
        """The elites once this trial is known as well; the same object where it changes nothing."""
        if not trial.raced or self._is_behind(trial):
            return self
        held = {one.configuration: one for one in self.trials}
        before = held.get(trial.configuration)
        if before is not None and _order(before) <= _order(trial):
            return self
        held[trial.configuration] = trial
        chosen = self._chosen(held.values())
        return self if chosen == self.trials else Elites(self.most, self.macro_of, chosen)

    def _is_behind(self, trial: Trial) -> bool:
        """Whether it is slower than all of a full list in which its macro variant has a place; most trials are."""
        if len(self.trials) < self.most or score(trial) <= score(self.trials[-1]):
            return False
        return self.macro_of(trial.configuration) in {self.macro_of(one.configuration) for one in self.trials}

    def _chosen(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        firsts: list[Trial] = []
        others: list[Trial] = []
        seen: set[Hashable] = set()
        for trial in sorted(trials, key=_order):
            macro = self.macro_of(trial.configuration)
            (others if macro in seen else firsts).append(trial)
            seen.add(macro)
        kept = firsts[: self.most]
        kept += others[: self.most - len(kept)]
        return tuple(sorted(kept, key=_order))


def finalist(raced_together: Iterable[Trial]) -> Trial | None:
    """The candidate to confirm: of those that can't be told from the fastest, the one that takes least of an SM.

    Two can't be told apart where their estimates differ by less than one standard error of the difference, taken as
    if they shared no noise: candidates of one joint race share some, so that this errs towards equality.
    """
    trials = sorted((trial for trial in raced_together if trial.raced), key=_order)
    if not trials:
        return None
    alike = [trial for trial in trials if score(trial) - score(trials[0]) <= _doubt(trial, trials[0])]
    return min(alike, key=lambda trial: (thrift(trial), _order(trial)))


def _doubt(one: Trial, other: Trial) -> float:
    errors = [trial.objective.stderr for trial in (one, other) if trial.objective is not None]
    return math.hypot(*(error for error in errors if math.isfinite(error)))
