"""What holds of elites whatever trials come, and which of them is confirmed."""

from __future__ import annotations

import itertools
import random

from scripted_search import SPACE
from scripted_search import raced

from pytest_kgate.search.policy.elites import Elites
from pytest_kgate.search.policy.elites import finalist
from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.space import Space

_STATES = ("raced", "raced", "raced", "wrong", "unbuildable", "cheats", "crash")


def _trials(seed: int, space: Space = SPACE) -> list[Trial]:
    """Trials by chance, some of one candidate twice, many of equal latency."""
    rng = random.Random(seed)
    found = []
    for _ in range(60):
        one, state = space.random(rng), rng.choice(_STATES)
        resources = {"registers": rng.choice((64, 128)), "shared_bytes": rng.choice((0, 1024))}
        trial = raced(one, rng.choice((0.8, 0.9, 1.0, rng.uniform(0.7, 1.3))), resources=resources)
        found.append(trial if state == "raced" else Trial(one, state))
    return found


def _best_by_macro(trials: list[Trial]) -> list[float]:
    best: dict[object, float] = {}
    for trial in trials:
        macro = SPACE.macro_of(trial.configuration)
        best[macro] = min(best.get(macro, float("inf")), score(trial))
    return sorted(found for found in best.values() if found < float("inf"))


def test_elites_are_few_right_and_distinct_and_never_get_worse() -> None:
    for seed, most in itertools.product(range(20), (1, 2, 4, 9)):
        elites = Elites(most, SPACE.macro_of)
        places: list[float] = []
        trials = _trials(seed)
        for number, trial in enumerate(trials, start=1):
            elites = elites.with_trial(trial)
            assert len(elites.trials) <= most
            assert all(one.state == "raced" for one in elites.trials)
            assert len({one.configuration for one in elites.trials}) == len(elites.trials)
            scores = [score(one) for one in elites.trials]
            assert scores == sorted(scores)
            # Each macro variant whose best is among the `most` best of all variants has its best in there, ...
            macros = [SPACE.macro_of(one.configuration) for one in elites.trials]
            firsts = [score(one) for place, one in enumerate(elites.trials) if macros[place] not in macros[:place]]
            assert firsts == _best_by_macro(trials[:number])[:most]
            # ... and none of these places ever gets worse.
            assert all(now <= then for now, then in zip(firsts, places, strict=False))
            assert len(firsts) >= len(places)
            places = firsts


def test_the_order_in_which_trials_come_does_not_matter() -> None:
    for seed in range(20):
        trials = list({trial.configuration: trial for trial in _trials(seed)}.values())
        found = set()
        for shuffle in range(5):
            random.Random(shuffle).shuffle(trials)
            elites = Elites(4, SPACE.macro_of)
            for trial in trials:
                elites = elites.with_trial(trial)
            found.add(tuple(one.configuration for one in elites.trials))
        assert len(found) == 1


def test_of_those_that_cannot_be_told_apart_the_one_that_takes_least_is_confirmed() -> None:
    one, other, third = list(SPACE)[:3]
    fastest = raced(one, 0.900, resources={"registers": 128, "shared_bytes": 0})
    alike = raced(other, 0.901, resources={"registers": 64, "shared_bytes": 4096})
    slower = raced(third, 0.920, resources={"registers": 32, "shared_bytes": 0})
    assert finalist([slower, fastest, alike]) is alike
    assert finalist([slower, fastest, raced(other, 0.901)]) is fastest  # nothing is known of what that one takes
    assert finalist([Trial(one, "wrong")]) is None
