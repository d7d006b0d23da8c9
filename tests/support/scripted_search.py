"""Searches whose candidates' outcomes are written down: no GPU, no noise, no process."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_kgate.search.course.course import Result
from pytest_kgate.search.course.course import search
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.strategies.choice import Name
from pytest_kgate.search.strategies.choice import strategy

SPACE = Space({"TILE": (32, 64), "PERSISTENT": (0, 1)}, {"STAGES": (2, 3, 4), "PAD": (0, 8)})
"""24 configurations."""

HEAD = Head("test_mine.py::test_mine", "evolve", 1)


def ratio(configuration: Configuration) -> float:
    """A latency ratio of its own for each configuration of SPACE; the best is 0.8, at TILE=64, STAGES=3, PAD=8."""
    knobs = configuration.as_dict()
    slower = 0.16 * (knobs["TILE"] == 32) + 0.08 * abs(int(knobs["STAGES"]) - 3) + 0.03 * (knobs["PAD"] == 0)
    return 0.8 + slower + 0.01 * (knobs["PERSISTENT"] == 1)


def raced(configuration: Configuration, of: float, rounds: int = 12, **facts: Any) -> Trial:
    """A trial whose latency ratio is known to within 0.1 %."""
    estimate = Estimate(math.log(of), 1e-3, rounds - 1.0, rounds)
    return Trial(configuration, "raced", estimates={"shape": estimate}, objective=estimate, **facts)


class Scripted:
    """An evaluator whose outcomes are written down, and which notes what it was asked for."""

    def __init__(
        self,
        ratio_of: Callable[[Configuration], float] = ratio,
        states: Mapping[Configuration, State] | None = None,
        *,
        passes: Callable[[Configuration], bool] = lambda configuration: True,
        before: Callable[[str, Sequence[Configuration]], None] = lambda what, configurations: None,
    ) -> None:
        """`states`: of candidates that are not raced. `before`: called before each evaluation; may raise."""
        self.calls: list[tuple[str, tuple[str, ...], int]] = []
        self.built: list[Configuration] = []
        self._ratio_of, self._states, self._passes, self._before = ratio_of, states or {}, passes, before

    def build(self, configurations: Sequence[Configuration]) -> None:
        self.built += configurations

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        self._note("screen", [configuration], rounds)
        state = self._states.get(configuration)
        if state is not None:
            return Trial(configuration, state, f"made up: {state}")
        return raced(configuration, self._ratio_of(configuration), rounds)

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        self._note("joint", configurations, rounds)
        return [raced(one, self._ratio_of(one), rounds, joint=True) for one in configurations]

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        self._note("confirm", [configuration], processes)
        passed, of = self._passes(configuration), self._ratio_of(configuration)
        verdicts, ratios = {"shape": "PASS" if passed else "FAIL"}, {"shape": (of, of - 0.01, of + 0.01)}
        return Confirmation(configuration, passed, alpha, processes, verdicts, ratios, "" if passed else "too slow")

    def _note(self, what: str, configurations: Sequence[Configuration], rounds: int) -> None:
        self._before(what, configurations)
        self.calls.append((what, tuple(one.title for one in configurations), rounds))


def searched(
    evaluator: Any,
    path: Path | None = None,
    *,
    space: Space = SPACE,
    name: Name = "evolve",
    seed: int = 1,
    resume: bool = False,
    scope: Scope | None = None,
    budget: Budget | None = None,
    policy: Policy | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> Result:
    """A search with a journal in this file, or with none."""
    scope = scope or Scope("source", ("-O3",), "sm_90a", {"driver": "580"})
    journal = Journal(HEAD, scope) if path is None else Journal.open(path, HEAD, scope, resume=resume)
    try:
        return search(
            space,
            strategy(name, space, seed),
            evaluator,
            journal,
            budget=budget or Budget(evaluations=20),
            policy=policy,
            clock=clock,
        )
    finally:
        journal.close()
