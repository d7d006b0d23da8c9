"""Compare other designs of a round on simulated noise: width and error rate of the interval that each would give.

Each design turns the noise of a round's slots into samples of both arms; the product's own rule judges them. The
bound is the true ratio, so that every PASS is false.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from pytest_kgate import __version__
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics import estimates
from pytest_kgate.statistics import group_sequential
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.group_sequential import SAMPLES
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.validation.simulate.error_rates import BOUND
from pytest_kgate.validation.simulate.error_rates import VERSION
from pytest_kgate.validation.simulate.scenarios import Scenario

SCHEMA = "pytest-kgate/designs"

GATES = 1000

SCENARIOS = ("independent", "ar50", "ar80", "ar95", "ar95-own", "heating", "boosting", "steps", "mixture", "slow")
"""Names of the scenarios whose noise depends on when a sample is taken, and of one whose noise does not."""

_ROUNDS = LOOKS[-1]

_INPUTS = RoundOffset(0.005)
"""What a round's input values are assumed to do to the latency of the arm that gets them."""


def random_order(rng: np.random.Generator, noise: Noise) -> Floats:
    """Ten samples an arm in random order: (2, rounds, samples) log latencies."""
    drawn = _drawn(rng, noise, 2 * SAMPLES)
    return _picked(drawn, rng.permuted(_arms(SAMPLES, 2), axis=1), SAMPLES)


def mirrored(rng: np.random.Generator, noise: Noise) -> Floats:
    """Antithetic order: half of the samples in random order, then the other half in the reverse of it.

    Both arms then stand at the same mean position, so that what rises evenly within a round cancels.
    """
    drawn = _drawn(rng, noise, 2 * SAMPLES)
    half = rng.permuted(_arms(SAMPLES // 2, 2), axis=1)
    return _picked(drawn, np.concatenate([half, half[:, ::-1]], axis=1), SAMPLES)


def null_control(rng: np.random.Generator, noise: Noise) -> Floats:
    """Ten samples of a null arm besides, whose course within the round is taken off by regression.

    The control of a round is the null latency interpolated to the candidate's slots less that at the reference's; it is
    0 on average whatever the noise does, for the order is random. The null arm is taken to share all of the noise that
    the arms share; where each arm has noise of its own too, the null arm shares none.
    """
    drawn = _drawn(rng, noise, 3 * SAMPLES)
    null_latency = drawn[0] if np.array_equal(drawn[0], drawn[1]) else _drawn(rng, noise, 3 * SAMPLES)[0]
    order = rng.permuted(_arms(SAMPLES, 3), axis=1)
    found = _picked(drawn, order, SAMPLES)
    slots = np.arange(3 * SAMPLES)
    control = np.empty(_ROUNDS)
    for index, arms in enumerate(order):
        null = arms == 2
        course = np.interp(slots, slots[null], null_latency[index, null])
        control[index] = course[arms == 0].mean() - course[arms == 1].mean()
    ratios = estimates.estimate(found[0]) - estimates.estimate(found[1])
    centred = control - control.mean()
    slope = float(centred @ ratios) / max(float(centred @ centred), 1e-30)
    found[0] -= slope * control[:, None]
    return found


def more_samples(rng: np.random.Generator, noise: Noise) -> Floats:
    """Fifteen samples an arm, as long a round as with a null arm."""
    count = 3 * SAMPLES // 2
    drawn = _drawn(rng, noise, 2 * count)
    return _picked(drawn, rng.permuted(_arms(count, 2), axis=1), count)


def four_samples(rng: np.random.Generator, noise: Noise) -> Floats:
    """Four samples an arm, the fewest of which the interquartile mean ignores one that is too slow."""
    return _picked(_drawn(rng, noise, 8), rng.permuted(_arms(4, 2), axis=1), 4)


def two_samples(rng: np.random.Generator, noise: Noise) -> Floats:
    """Two samples an arm, one arm's around the other's, as in the rounds of slow kernels."""
    order = np.stack([shuffled_order(rng, 2, 1) for _ in range(_ROUNDS)])
    return _picked(_drawn(rng, noise, 4), order, 2)


def own_inputs(rng: np.random.Generator, noise: Noise) -> Floats:
    """Random order, and each arm has inputs of its own, whose values move its latency by 0.5 %.

    Where both arms have the same inputs, their effect is the same and cancels.
    """
    return random_order(rng, noise) + _INPUTS.draw(rng, _ROUNDS, SAMPLES)


DESIGNS: Mapping[str, Callable[[np.random.Generator, Noise], Floats]] = MappingProxyType(
    {
        "random order": random_order,
        "mirrored order": mirrored,
        "null arm as control": null_control,
        "15 samples an arm": more_samples,
        "4 samples": four_samples,
        "2 samples": two_samples,
        "inputs not shared": own_inputs,
    }
)


@dataclass(frozen=True)
class DesignWidth:
    """One design under one kind of noise."""

    design: str
    gates: int
    passed: int
    failed: int
    half_width: float
    """Mean, of the ratio after 96 rounds, relative."""
    error: float
    """Root mean square of the ratio's true error after 96 rounds, relative."""


def measure(scenario: Scenario, design: str, gates: int, seed: int = 42) -> DesignWidth:
    """Judge so many races of this design under this noise."""
    verdicts, halves, errors = [], [], []
    critical = group_sequential.critical_values(0.95)[-1]
    for number in range(gates):
        rng = np.random.default_rng([seed, zlib.crc32(scenario.name.encode()), number])
        candidate, reference = scenario.reference_seconds * np.exp(DESIGNS[design](rng, scenario.noise))
        candidate *= BOUND
        test = estimates.block_test(estimates.log_ratios(candidate, reference))
        halves.append(critical * test.se)
        errors.append(test.mean - math.log(BOUND))
        verdicts.append(_verdict(candidate, reference, number))
    return DesignWidth(
        design,
        gates,
        verdicts.count(Verdict.PASS),
        verdicts.count(Verdict.FAIL),
        float(np.mean(halves)),
        float(np.sqrt(np.mean(np.square(errors)))),
    )


def simulate(
    scenarios: Sequence[Scenario], gates: int = GATES, seed: int = 42, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Measure every design in each of these scenarios; returns the document."""
    started, begun = now(), time.perf_counter()
    rows: list[dict[str, Any]] = []
    for scenario in scenarios:
        cells = []
        for design in DESIGNS:
            cells.append(vars(measure(scenario, design, gates, seed)))
            if progress is not None:
                progress((len(rows) + len(cells) / len(DESIGNS)) / len(scenarios))
        rows.append({"name": scenario.name, "title": scenario.title, "noise": repr(scenario.noise), "cells": cells})
    seconds = round(time.perf_counter() - begun, 1)
    head = {"schema": SCHEMA, "version": VERSION, "created": started, "kgate": __version__, "seed": seed}
    return {**head, "seconds": seconds, "scenarios": rows}


def chosen(names: str | None) -> tuple[Scenario, ...]:
    """The scenarios of a list, or those above; `UsageError` at a name unknown."""
    from pytest_kgate.validation.simulate.scenarios import chosen

    return chosen(names or ",".join(SCENARIOS))


def table(document: Mapping[str, Any]) -> str:
    """The document as Markdown: half-width of each design, relative to the present one, and false passes."""
    names = [one["design"] for one in document["scenarios"][0]["cells"]]
    lines = [f"| noise | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for scenario in document["scenarios"]:
        first = scenario["cells"][0]
        shown = [f"{100 * first['half_width']:.2g} %, {_rate(first)}"]
        shown += [f"x {one['half_width'] / first['half_width']:.2f}, {_rate(one)}" for one in scenario["cells"][1:]]
        lines.append(f"| {scenario['title']} | {' | '.join(shown)} |")
    gates = document["scenarios"][0]["cells"][0]["gates"]
    luck = 100 * math.sqrt(0.025 * 0.975 / gates)
    lines += [
        "",
        f"Mean half-width of the ratio after {_ROUNDS} rounds, the first design's in percent and the others' relative "
        f"to it, and false passes of {gates} gates on their bound (one standard error of "
        f"2.5 % is {luck:.1f} %). "
        f"Seed {document['seed']}, pytest-kgate {document['kgate']}, "
        f"{document['created'][:10]}.",
    ]
    return "\n".join(lines) + "\n"


def _rate(one: Mapping[str, Any]) -> str:
    return f"{100 * one['passed'] / one['gates']:.1f} %"


def _verdict(candidate: Floats, reference: Floats, seed: int) -> Verdict:
    gate = SpeedGate(BOUND)
    for rounds in LOOKS:
        judgement = judge_rounds(gate, candidate[:rounds], reference[:rounds], seed=seed)
        if judgement is not None:
            return judgement.verdict
    raise AssertionError("the last look always judges")


def _drawn(rng: np.random.Generator, noise: Noise, slots: int) -> Floats:
    return np.broadcast_to(noise.draw(rng, _ROUNDS, slots), (2, _ROUNDS, slots))


def _arms(samples: int, arms: int) -> np.typing.NDArray[np.intp]:
    return np.tile(np.repeat(np.arange(arms), samples), (_ROUNDS, 1))


def _picked(drawn: Floats, order: np.typing.NDArray[np.intp], samples: int) -> Floats:
    """The noise of each arm's slots, in the order in which they are measured: (2, rounds, samples)."""
    return np.stack([drawn[arm][order == arm].reshape(_ROUNDS, samples) for arm in (0, 1)])
