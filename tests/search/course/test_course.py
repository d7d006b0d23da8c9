"""A whole search, with candidates whose outcomes are written down."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scripted_search import SPACE
from scripted_search import Scripted
from scripted_search import ratio
from scripted_search import searched

from pytest_kgate.search.course.course import INTERRUPTED
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

BEST = min(SPACE, key=ratio)


@pytest.mark.parametrize("name", ["grid", "evolve", "local", "random"])
def test_every_strategy_ends_with_one_confirmation_of_a_finalist(name: str) -> None:
    evaluator = Scripted()
    result = searched(evaluator, name=name, budget=Budget(evaluations=24))
    assert result.champion is not None
    assert result.champion.configuration == BEST
    assert [what for what, _, _ in evaluator.calls].count("confirm") == 1
    assert evaluator.calls[-2][0] == "joint"
    assert result.alpha_spent == result.champion.alpha == 0.0125
    assert len(result.elites) == 4
    # What is promising is raced on, and few are.
    rounds = [rounds for what, _, rounds in evaluator.calls if what == "screen"]
    assert rounds.count(3) == len(result.trials) == 24
    assert 0 < rounds.count(48) <= rounds.count(12) <= 12
    assert max(trial.objective.rounds for trial in result.elites if trial.objective) == 3 + 12 + 48


def test_trials_know_what_they_were_made_of() -> None:
    result = searched(Scripted(), name="evolve", budget=Budget(evaluations=24))
    starts, later = result.trials[:8], result.trials[8:]
    assert not any(one.parents for one in starts)
    made = [one for one in later if one.parents]
    assert len(made) > len(later) / 2  # others are immigrants
    known = {one.configuration.id for one in result.trials}
    assert all(set(one.parents) <= known and one.configuration.id not in one.parents for one in made)
    assert not any(one.parents for one in searched(Scripted(), name="grid", budget=Budget(evaluations=24)).trials)


def test_only_what_is_right_can_be_confirmed() -> None:
    states: dict[Configuration, State] = {}
    failures: tuple[State, ...] = ("wrong", "cheats", "unbuildable", "spills", "timeout", "error", "refused")
    for one, state in zip(sorted(SPACE, key=ratio), failures, strict=False):
        states[one] = state
    result = searched(Scripted(states=states), name="grid", budget=Budget())
    assert result.champion is not None
    assert result.champion.configuration == sorted(SPACE, key=ratio)[len(failures)]
    assert {trial.configuration: trial.state for trial in result.trials if not trial.raced} == states
    none = searched(Scripted(states=dict.fromkeys(SPACE, "wrong")), budget=Budget())
    assert (none.champion, none.confirmation, none.elites, none.alpha_spent) == (None, None, (), 0.0)


def test_a_finalist_that_fails_leaves_no_champion() -> None:
    result = searched(Scripted(passes=lambda one: False))
    assert result.champion is None
    assert result.confirmation is not None
    assert result.confirmation.reason == "too slow"


def test_a_candidate_that_takes_its_process_along_is_tried_once_more() -> None:
    crashed: list[Configuration] = []

    class Fragile(Scripted):
        def screen(self, configuration: Configuration, rounds: int) -> Trial:
            trial = super().screen(configuration, rounds)
            once = configuration == BEST and configuration not in crashed
            always = configuration == SPACE.default
            if once or always:
                crashed.append(configuration)
                return Trial(configuration, "crash", "the process is gone")
            return trial

    result = searched(Fragile(), name="grid", budget=Budget())
    states = {trial.configuration: trial.state for trial in result.trials}
    assert (states.pop(SPACE.default), set(states.values())) == ("crash", {"raced"})
    assert crashed.count(SPACE.default) == 2
    assert result.champion is not None
    assert result.champion.configuration == BEST


def test_it_ends_by_time_by_evaluations_and_where_elites_stay_as_they_were() -> None:
    now = [0.0]

    def second(what: str, configurations: Sequence[Configuration]) -> None:
        now[0] += 1.0

    timed = Scripted(before=second)
    result = searched(timed, name="grid", budget=Budget(seconds=10.0), clock=lambda: now[0])
    assert "10 s" in result.stopped
    # A fifth is kept for the end.
    assert [what for what, _, _ in timed.calls] == ["screen"] * 8 + ["joint", "confirm"]
    assert result.champion is not None
    result = searched(Scripted(), name="random", budget=Budget(evaluations=11))
    assert (len(result.trials), result.stopped) == (11, "11 candidates were evaluated")
    result = searched(Scripted(lambda one: 1.0), name="grid", budget=Budget(generations=1))
    assert (len(result.trials), result.stopped) == (16, "the elites stayed as they were for 1 generation")
    result = searched(Scripted(), name="evolve", budget=Budget())
    assert (len(result.trials), result.stopped) == (24, "there was nothing more to try")


def test_ctrl_c_ends_it_with_what_is_known_and_without_a_confirmation() -> None:
    left = [9]

    def interrupt(what: str, configurations: Sequence[Configuration]) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    result = searched(Scripted(before=interrupt), name="grid", budget=Budget())
    assert (result.stopped, result.champion, result.alpha_spent) == (INTERRUPTED, None, 0.0)
    assert len(result.trials) == 8


def test_several_gpus_come_to_the_same_as_one() -> None:
    alone = searched(Scripted(), name="evolve")
    side_by_side = searched(Scripted(), name="evolve", policy=Policy(width=3))
    assert side_by_side == alone


def test_candidates_are_built_before_they_are_asked_for() -> None:
    seen: list[int] = []
    evaluator = Scripted(before=lambda what, configurations: seen.append(len(evaluator.built)))
    searched(evaluator, name="grid", budget=Budget())
    assert seen[0] == 16  # while the first eight are screened, the next eight are built
    assert sorted(evaluator.built, key=str) == sorted(SPACE, key=str)
