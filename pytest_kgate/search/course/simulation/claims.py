"""How often each way to choose among many candidates claims a winner where there is none.

All 128 candidates are as fast as the reference, and the bound is 1: whatever is claimed is false.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import White
from pytest_kgate.search.course.course import search
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.course.simulation import landscapes
from pytest_kgate.search.course.simulation.evaluator import SimulatedEvaluator
from pytest_kgate.search.course.simulation.landscapes import SPACE
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.strategies.choice import Name
from pytest_kgate.search.strategies.choice import strategy
from pytest_kgate.statistics.intervals.student_t import p_below

QUIET: Noise = Mixture((White(0.01), RoundOffset(0.005)))
"""1 % a sample, and 0.7 % a round between the arms: together 0.9 % a round, the middle of 22 races recorded on GPUs."""

_OFFSET = 0.003
"""Standard deviation of what lasts as long as a process, as a share of the latency."""

_PER_ARM = _OFFSET / math.sqrt(2)

OFFSET: Noise = Mixture((QUIET, RaceOffset(_PER_ARM)))
"""The same, where each process has an offset of its own besides."""

_NAIVE_ROUNDS = 12

_GATE = 0.025
"""One-sided error rate of a gate by itself."""

_ONE = Policy(processes=1)

VERB = Policy(stages=(12,))
"""That of `kgate search`: its screenings are processes, whose start takes longer than a few rounds more."""

CONFIRMATIONS = 5
"""Of a search that goes on confirming."""


@dataclass(frozen=True)
class Claim:
    """What one search came to."""

    claimed: bool
    rounds: int
    """Of all its races."""


@dataclass(frozen=True)
class Design:
    """One way to choose among many candidates, and to claim."""

    title: str
    run: Callable[[int], Claim]
    """From a seed."""
    limit: float | None
    """What its rate of false claims is held to; None where it promises nothing."""


def searched(
    noise: Noise, seed: int, name: Name = "grid", policy: Policy | None = None, lasting_sd: float = 0.0
) -> Claim:
    """The claim of a whole search over equal candidates."""
    evaluator = SimulatedEvaluator(landscapes.equal(), noise, seed, lasting_sd=lasting_sd)
    result = search(
        SPACE,
        strategy(name, SPACE, seed),
        evaluator,
        Journal(Head("", name, seed), Scope()),
        budget=Budget(),
        policy=policy,
    )
    return Claim(result.champion is not None, evaluator.rounds)


def confirmed_again(noise: Noise, seed: int) -> Claim:
    """A search of the whole grid that goes on with its next best candidates until one is confirmed."""
    evaluator = SimulatedEvaluator(landscapes.equal(), noise, seed)
    journal = Journal(Head("", "grid", seed), Scope())
    result = search(SPACE, strategy("grid", SPACE, seed), evaluator, journal, budget=Budget(), policy=_ONE)
    left = sorted((one for one in result.trials if not journal.confirmations(one.configuration)), key=score)
    for trial in left[: CONFIRMATIONS - 1]:
        if journal.champion is None:
            price = journal.pay(trial.configuration)
            journal.confirmed(evaluator.confirm(trial.configuration, price, 1))
    return Claim(journal.champion is not None, evaluator.rounds)


def fastest(noise: Noise, seed: int) -> Claim:
    """A claim of the candidate with the smallest of all estimates."""
    evaluator, trials = _screened(noise, seed)
    return Claim(min(score(trial) for trial in trials) < 0, evaluator.rounds)


def fastest_by_its_interval(noise: Noise, seed: int) -> Claim:
    """As `fastest`, and claimed only where the 95 % interval of the same rounds is below 1."""
    evaluator, trials = _screened(noise, seed)
    best = min(trials, key=score).objective
    assert best is not None
    return Claim(p_below(best.log_ratio, best.stderr, best.degrees) < _GATE, evaluator.rounds)


def gate_for_each(noise: Noise, seed: int) -> Claim:
    """Each candidate meets a gate of its own, on fresh rounds, whose error rate is 2.5 %."""
    evaluator = SimulatedEvaluator(landscapes.equal(), noise, seed)
    passed = [evaluator.confirm(one, _GATE, 1).passed for one in SPACE]
    return Claim(any(passed), evaluator.rounds)


def _screened(noise: Noise, seed: int) -> tuple[SimulatedEvaluator, list[Trial]]:
    evaluator = SimulatedEvaluator(landscapes.equal(), noise, seed)
    return evaluator, [evaluator.screen(one, _NAIVE_ROUNDS) for one in SPACE]


DESIGNS: Mapping[str, Design] = {
    "fastest": Design("the fastest of twelve-round estimates", lambda seed: fastest(QUIET, seed), None),
    "interval": Design(
        "the same, if the 95 % interval of the same rounds is below 1",
        lambda seed: fastest_by_its_interval(QUIET, seed),
        None,
    ),
    "gates": Design("a fresh gate of 2.5 % for each candidate", lambda seed: gate_for_each(QUIET, seed), None),
    "grid": Design("a search of the whole grid", lambda seed: searched(QUIET, seed), 0.025),
    "evolve": Design("a search by evolve", lambda seed: searched(QUIET, seed, "evolve"), 0.025),
    "verb": Design(
        "a search by evolve, twelve rounds a screening, as kgate search does",
        lambda seed: searched(QUIET, seed, "evolve", policy=VERB),
        0.025,
    ),
    "one": Design("a search confirmed in one fresh process", lambda seed: searched(QUIET, seed, policy=_ONE), 0.025),
    "again": Design(
        "the same, which confirms up to five candidates",
        lambda seed: confirmed_again(QUIET, seed),
        0.025,
    ),
    "offset-same": Design(
        "offsets of 0.3 % a process: confirmed in the process that chose",
        lambda seed: searched(QUIET, seed, policy=_ONE, lasting_sd=_OFFSET),
        None,
    ),
    "offset-one": Design(
        "the same offsets: confirmed in one fresh process", lambda seed: searched(OFFSET, seed, policy=_ONE), None
    ),
    "offset-five": Design(
        "the same offsets: confirmed over five fresh processes", lambda seed: searched(OFFSET, seed), 0.03
    ),
}
"""By name; those with a limit are what the product does."""
