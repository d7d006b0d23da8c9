"""The rounds of a race that several candidates share with one reference: in which order, and what each comes to.

Two candidates that were raced one after the other differ by the noise of two races and by what changed between them.
In the same rounds both meet the same clocks, inputs and neighbours: the difference of their log ratios is paired, round
by round, and the reference drops out of it. Nothing is judged here, so there are no looks: the number of rounds is
fixed before the race.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.evidence.disturbances import Disturbances
from pytest_kgate.bench.race.evidence.disturbances import RaceLog
from pytest_kgate.bench.race.evidence.disturbances import assess
from pytest_kgate.bench.race.evidence.order_effects import ArmOrder
from pytest_kgate.bench.race.evidence.sealed import Sealed
from pytest_kgate.bench.race.evidence.watch import Watch
from pytest_kgate.bench.race.probes import Probes
from pytest_kgate.bench.race.round_plan import samples_of_a_round
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.statistics.intervals.fixed_rounds import of_samples
from pytest_kgate.system.cpu_load import wait_names

REFERENCE = 1
"""Its place among the arms, as in a race of two; the first candidate stands before it, the others behind."""


@dataclass(frozen=True)
class Pair:
    """What a joint race says of one of its candidates, in the form of a race of that one and the reference."""

    race: race.Race
    found: Disturbances
    """By the samples of these two arms."""


def places_of(candidates: int) -> list[int]:
    """The place of each candidate among the arms."""
    return [0, *range(REFERENCE + 1, candidates + 1)]


def run(
    device: Device,
    stopwatch: Stopwatch,
    candidates: int,
    plan: race.Plan,
    progress: Callable[[race.Progress], None] | None = None,
) -> list[Pair]:
    """Time `plan.rounds` rounds of all arms; returns each candidate's part, in their order.

    The stopwatch's arms are the first candidate, the reference, and the other candidates. Each round has samples of all
    of them in random order, as many of each as a race of two such arms would take.
    """
    arms, start = candidates + 1, device.clock()
    watch = Watch(stopwatch, device)
    # What a sample of one candidate and the reference takes, on average: more arms are no reason for fewer samples.
    pair_seconds = stopwatch.sample_seconds * 2 / arms
    samples = samples_of_a_round(pair_seconds, stopwatch.enough_seconds, plan.budget_seconds, ())
    book, taken = SeedBook(plan.seed), Sealed()
    assert plan.rounds is not None
    for number in range(plan.rounds):
        order = shuffled_order(book.generator(Stream.ROUND_ORDER, number), samples, stopwatch.run_length, arms)
        taken.add(watch.round(book.round(number, probed=False), order))
        if progress is not None:
            progress(race.Progress(number + 1, device.clock() - start, race.rough_ratio(taken.rounds)))
    taken.demand_unchanged()
    seen, spent = watch.log(), device.clock() - start
    return [_pair(replace(seen, rounds=taken.rounds), place, stopwatch, spent) for place in places_of(candidates)]


def _pair(seen: RaceLog, place: int, stopwatch: Stopwatch, spent_seconds: float) -> Pair:
    """The part of one candidate; what was seen of the machine belongs to all."""
    rounds = [_of_two(one, place) for one in seen.rounds]
    orders = [_order_of_two(order, place) for order in seen.orders]
    seconds = np.stack([one.seconds for one in rounds])
    candidate, reference = seconds[:, 0], seconds[:, 1]
    ratio = of_samples(candidate, reference, tick_seconds=stopwatch.tick_seconds, offset_sd=stopwatch.offset_sd)
    parts = race.Race(
        candidate=candidate,
        reference=reference,
        overhead_seconds=np.array([one.overhead_seconds for one in rounds]),
        spent_seconds=spent_seconds,
        judgements=(),
        light=None,
        ratio=ratio and ratio.interval(),
        retaken=sum(one.retaken for one in rounds),
        probes=Probes(),
        evidence={name: np.array([one.evidence[name] for one in rounds]) for name in rounds[0].evidence},
    )
    return Pair(parts, assess(replace(seen, rounds=rounds, orders=orders)))


def _of_two(one: Round, place: int) -> Round:
    """The round as if this candidate and the reference had been alone in it."""
    both = [place, REFERENCE]
    names = wait_names(len(one.seconds))
    own = [(name, names[arm]) for name, arm in zip(names, both, strict=False)]
    waits = {name: one.evidence[mine] for name, mine in own if mine in one.evidence}
    others = {name: value for name, value in one.evidence.items() if name not in names}
    return replace(
        one, seconds=one.seconds[both], overhead_seconds=one.overhead_seconds[both], evidence={**others, **waits}
    )


def _order_of_two(order: ArmOrder, place: int) -> ArmOrder:
    """The order of their samples: 0 for the candidate, 1 for the reference."""
    of_both = order[(order == place) | (order == REFERENCE)]
    return np.asarray(of_both == REFERENCE, dtype=np.intp)
