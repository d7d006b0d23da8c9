"""What strategies propose: nothing twice, nothing that is refused, the same for the same seed."""

from __future__ import annotations

import builtins
import math
import random
from typing import Any

import pytest
from scripted_search import raced

from pytest_kgate import cli
from pytest_kgate.errors import UsageError
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.strategies.choice import SWITCHES
from pytest_kgate.search.strategies.choice import Name
from pytest_kgate.search.strategies.choice import chosen
from pytest_kgate.search.strategies.choice import parts
from pytest_kgate.search.strategies.choice import strategy
from pytest_kgate.search.strategies.evolve import Evolve
from pytest_kgate.search.strategies.evolve import Parts
from pytest_kgate.search.strategies.surrogate import Surrogate

NAMES: tuple[Name, ...] = ("grid", "random", "local", "evolve")

SPACE = Space(
    {"KIND": ("plain", "split", "merged"), "TILE": (32, 64, 128)},
    {"STAGES": (1, 2, 3, 4), "PAD": (0, 8), "FAST": (False, True)},
    ("TILE * STAGES <= smem",),
    {"smem": 256},
)


def _ratio(one: Configuration) -> float:
    knobs = one.as_dict()
    return 1.0 + 0.1 * (knobs["KIND"] != "split") + 0.05 * abs(int(knobs["STAGES"]) - 2) + 0.001 * int(knobs["TILE"])


def _proposed(name: Name, seed: int, shuffle: int = 0, space: Space = SPACE, most: int = 1000) -> list[Configuration]:
    """What a strategy proposes, whose trials come back in an order by chance within each batch."""
    asked = strategy(name, space, seed)
    rng, proposed = random.Random(shuffle), list[Configuration]()
    while len(proposed) < most and (batch := asked.ask(8)):
        proposed += batch
        trials = [raced(one, _ratio(one)) if _ratio(one) < 1.2 else Trial(one, "wrong") for one in batch]
        rng.shuffle(trials)
        for trial in trials:
            asked.tell(trial)
    assert len(proposed) >= most or (asked.exhausted and asked.ask(8) == [])
    return proposed


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_proposes_each_candidate_once_and_the_default_first(name: Name) -> None:
    proposed = _proposed(name, 1)
    assert proposed[0] == SPACE.default
    assert len(set(proposed)) == len(proposed)
    assert set(proposed) == set(SPACE)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_whatever_order_trials_come_back_in(name: Name) -> None:
    assert _proposed(name, 1, shuffle=1, most=32) == _proposed(name, 1, shuffle=2, most=32)
    assert _proposed(name, 1, most=8) != _proposed(name, 2, most=8)


def test_starts_are_spread_over_the_macro_variants() -> None:
    for seed in range(5):
        starts = Evolve(SPACE, seed).ask(8)
        assert len({SPACE.macro_of(one) for one in starts}) == 8


def test_each_part_of_evolve_can_be_switched_off() -> None:
    """Climbs alone stay within the macro variants of the starts, and move one micro knob at a time."""
    asked = Evolve(SPACE, 1, Parts(starts=1, mutations=0, crossovers=0, immigrants=0, model=False))
    known: list[Configuration] = []
    while batch := asked.ask(8):
        for one in batch:
            assert not known or any(one in SPACE.neighbours(before) for before in known)
            asked.tell(raced(one, _ratio(one)))
        known += batch
    assert {SPACE.macro_of(one) for one in known} == {SPACE.macro_of(SPACE.default)}
    best = min(known, key=_ratio)
    assert all(_ratio(near) >= _ratio(best) for near in SPACE.neighbours(best))
    for name in SWITCHES:
        made_of = parts(4, [name])
        assert made_of != Parts()
        asked = Evolve(SPACE, 1, made_of)
        for _ in range(4):
            for one in asked.ask(8):
                asked.tell(raced(one, _ratio(one)))
        assert not asked.exhausted


def test_a_part_that_there_is_not_is_told_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "test_mine.py::test_mine", "--without", "model,luck"]) == 2
    assert "The strategy evolve has no part luck." in capsys.readouterr().err


def test_the_model_finds_the_best_and_keeps_away_from_what_fails() -> None:
    known = [one for place, one in enumerate(SPACE) if place % 3 == 0]
    failing = [one for one in SPACE if one.as_dict()["KIND"] == "merged"]
    scores = {one: math.inf if one in failing else math.log(_ratio(one)) for one in known}
    pool = [one for one in SPACE if one not in known]
    best = Surrogate(SPACE).best(scores, pool, 3)
    assert len(set(best)) == 3
    assert {one.as_dict()["KIND"] for one in best} == {"split"}
    assert not set(best) & set(failing)
    # Equal scores leave nothing to learn, and nothing to divide by.
    assert len(Surrogate(SPACE).best(dict.fromkeys(known, 0.0), pool, 3)) == 3


def test_auto_takes_the_grid_where_all_builds_fit_half_of_the_budget() -> None:
    size = SPACE.size
    built = size * 4.5 / 14
    assert chosen(SPACE, seconds=2.1 * built, evaluations=None, builders=14) == "grid"
    assert chosen(SPACE, seconds=1.9 * built, evaluations=None, builders=14) == "evolve"
    assert chosen(SPACE, seconds=None, evaluations=size, builders=14) == "grid"
    assert chosen(SPACE, seconds=600.0, evaluations=size - 1, builders=14) == "evolve"


def test_tpe_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_optuna(name: str, *rest: Any, **others: Any) -> Any:
        if name == "optuna":
            raise ImportError
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without_optuna)
    with pytest.raises(UsageError, match=r"pip install 'pytest-kgate\[optuna\]'"):
        strategy("tpe", SPACE, 1)


def test_tpe_proposes_what_is_allowed_and_new() -> None:
    pytest.importorskip("optuna")
    small = Space({"KIND": ("plain", "split")}, {"STAGES": (1, 2, 3), "TILE": (32, 64)}, ("TILE * STAGES <= 128",))
    proposed = _proposed("tpe", 1, space=small)
    assert len(set(proposed)) == len(proposed) > 6
    assert set(proposed) <= set(small)
    assert proposed[0] == small.default
    assert proposed[:8] == _proposed("tpe", 1, space=small, most=8)
