"""Run the rounds of one race: in which order, how many, and when to stop.

The stopwatch does the timing, `statistics/judge.py` the judging.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from pytest_kgate.bench.race.evidence.sealed import Sealed
from pytest_kgate.bench.race.probes import Probes
from pytest_kgate.bench.race.probes import is_probed
from pytest_kgate.bench.race.round_plan import Budget
from pytest_kgate.bench.race.round_plan import samples_of_a_round
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.bench.race.speed_of_light.judge import LightDemand
from pytest_kgate.bench.race.speed_of_light.judge import LightJudgement
from pytest_kgate.bench.race.speed_of_light.judge import judge_light
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.integrity.side_effects.memories.new_values import NewValues
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.intervals.fixed_rounds import of_samples
from pytest_kgate.statistics.intervals.percentiles import carries
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge import measure
from pytest_kgate.statistics.judge import precise_enough

MEASURE_PRECISION = 0.01
"""A race that judges nothing stops once the ratio's half-width is below 1 %."""


MOST_ROUNDS = 960
"""Of a race that goes on for a percentile: p99 needs some 400 rounds where the samples of a round are all alike."""

_BETWEEN = 24
"""Rounds beyond the last look after which such a race looks whether it has enough."""


@dataclass(frozen=True)
class Plan:
    """The budget of one race, the root of its book of seeds, and when it may stop before all looks are past."""

    budget_seconds: float
    seed: int
    precision: float | None = None
    """Stop undecided once the ratio's relative half-width is below this."""
    all_rounds: bool = False
    """Take every round, or the budget, whatever the rounds so far say: for a process that measures and does not judge,
    and the number of whose rounds must not depend on how its own ratio turned out."""
    light: LightDemand | None = None
    """What share of the measured roofline the candidate must reach; the race goes on until that is decided, too."""
    answers_on_host: bool = False
    """Whether answers of probes are brought to the host's memory, since a GPU has no room for them."""
    rounds: int | None = None
    """Exactly so many, whatever the budget: nothing is judged."""
    percentile: float | None = None
    """Of both arms' latency: go on, beyond the last look if need be, until it has an interval, as narrow as `precision`
    if there is one. The verdicts stay those of their looks."""


@dataclass(frozen=True)
class Race:
    """The rounds that were run; arrays are (rounds, samples), in seconds of net latency of one call."""

    candidate: NDArray[np.float64]
    reference: NDArray[np.float64]
    overhead_seconds: NDArray[np.float64]
    """(rounds, 2): what was taken off the candidate's and the reference's samples."""
    spent_seconds: float
    judgements: tuple[Judgement, ...]
    light: LightJudgement | None
    """On the share of the measured roofline; None where nothing is demanded of it."""
    ratio: Interval | None
    """Of the latencies, at the latest look, whatever the gates demand; None before the first look. Of a number of
    rounds that was asked for, over all of them."""
    retaken: int
    probes: Probes
    """The launches on new values among the timed ones, which show whether those did the work."""
    evidence: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Readings by name, one value a round."""

    @property
    def new_values(self) -> NewValues | None:
        """What new values cost the arms; None where the probes do not tell."""
        return self.probes.new_values(self.candidate, self.reference)

    @property
    def ratio_of_medians(self) -> float:
        """Of the latencies that are shown, which do not judge."""
        return float(np.median(self.candidate) / np.median(self.reference))

    @property
    def rounds(self) -> int:
        """How many rounds were run."""
        return len(self.candidate)


@dataclass(frozen=True)
class Progress:
    """How far a race has come, for a line on the terminal that shows it live."""

    rounds: int
    spent_seconds: float
    ratio: float


def run(
    stopwatch: Stopwatch,
    gates: Sequence[SpeedGate],
    plan: Plan,
    clock: Callable[[], float],
    progress: Callable[[Progress], None] | None = None,
) -> Race:
    """Time rounds until every gate is decided, `plan.light` among them, the last look is past, or the budget is spent.

    With `plan.percentile` the race then goes on until that is known, too.
    The race also goes on, with the verdicts that it has, while the probes leave open that new values cost the candidate
    too much. A round is started only while budget is left. The first look needs twelve rounds: a race that has no
    chance to get so far ends after a few, and its judgements say what it would take.
    """
    start = clock()
    samples = samples_of_a_round(stopwatch.sample_seconds, stopwatch.enough_seconds, plan.budget_seconds, gates)
    judges = bool(gates) or plan.light is not None
    measures = not judges and plan.precision is None and plan.percentile is None
    budget = Budget(plan.budget_seconds, plan.all_rounds, measures=measures, rounds=plan.rounds)
    taken = Sealed()
    rounds = taken.rounds
    decided: dict[int, Judgement] = {}
    light: LightJudgement | None = None
    book = SeedBook(plan.seed)
    probes = Probes(on_host=plan.answers_on_host)
    fastest = math.inf
    most = plan.rounds or (LOOKS[-1] if plan.percentile is None else MOST_ROUNDS)
    while len(rounds) < most and budget.has_room(len(rounds), (begun := clock()) - start, fastest):
        number = len(rounds)
        order = shuffled_order(book.generator(Stream.ROUND_ORDER, number), samples, stopwatch.run_length)
        latest = stopwatch.round(book.round(number, probed=is_probed(book, number)), order)
        probes.add(latest.probe)
        taken.add(latest)
        del latest
        fastest = min(fastest, clock() - begun)
        if progress is not None:
            progress(Progress(len(rounds), clock() - start, rough_ratio(rounds)))
        if plan.rounds is not None:
            continue
        if len(rounds) in LOOKS:
            _judge(rounds, gates, plan, stopwatch, decided)
            light = light or _light(rounds, plan, stopwatch)
            new = probes.new_values(*_stack(rounds))
            settled = _settled(rounds, gates, plan, decided, light) and not (new is not None and new.doubtful)
            if (settled or len(rounds) == LOOKS[-1]) and _carries(rounds, plan):
                break
        elif len(rounds) > LOOKS[-1] and len(rounds) % _BETWEEN == 0 and _carries(rounds, plan):
            break
    candidate, reference = _stack(rounds)
    taken.demand_unchanged()
    _judge(rounds, gates, plan, stopwatch, decided, final=True)
    light = light or _light(rounds, plan, stopwatch, final=True)
    spent = clock() - start
    return Race(
        candidate=candidate,
        reference=reference,
        overhead_seconds=np.array([one.overhead_seconds for one in rounds]).reshape(-1, 2),
        spent_seconds=spent,
        judgements=tuple(budget.explained(decided[index], spent) for index in range(len(gates))),
        light=light and budget.explained(light, spent),
        ratio=_ratio(candidate, reference, plan, stopwatch),
        retaken=sum(one.retaken for one in rounds),
        probes=probes,
        evidence={
            name: np.array([one.evidence[name] for one in rounds]) for name in (rounds[0].evidence if rounds else ())
        },
    )


def _ratio(
    candidate: NDArray[np.float64], reference: NDArray[np.float64], plan: Plan, stopwatch: Stopwatch
) -> Interval | None:
    if plan.rounds is None:
        return measure(candidate, reference, offset_sd=stopwatch.offset_sd)
    found = of_samples(candidate, reference, tick_seconds=stopwatch.tick_seconds, offset_sd=stopwatch.offset_sd)
    return found and found.interval()


def _judge(
    rounds: list[Round],
    gates: Sequence[SpeedGate],
    plan: Plan,
    stopwatch: Stopwatch,
    decided: dict[int, Judgement],
    *,
    final: bool = False,
) -> None:
    """Judge the gates that are not decided yet; judgements that need no more rounds are added to `decided`."""
    candidate, reference = _stack(rounds)
    seed = SeedBook(plan.seed).seed(Stream.RESAMPLES)
    for index, gate in enumerate(gates):
        if index in decided:
            continue
        judgement = judge_rounds(
            gate,
            candidate,
            reference,
            seed=seed,
            final=final,
            tick_seconds=stopwatch.tick_seconds,
            offset_sd=stopwatch.offset_sd,
        )
        if judgement is not None:
            decided[index] = judgement


def _light(rounds: list[Round], plan: Plan, stopwatch: Stopwatch, *, final: bool = False) -> LightJudgement | None:
    """The judgement on the share of the measured roofline; None where none is demanded, or more rounds are needed."""
    if plan.light is None:
        return None
    candidate, _ = _stack(rounds)
    tick, offset_sd = stopwatch.tick_seconds, stopwatch.offset_sd
    return judge_light(plan.light, candidate, final=final, tick_seconds=tick, offset_sd=offset_sd)


def _settled(
    rounds: list[Round],
    gates: Sequence[SpeedGate],
    plan: Plan,
    decided: dict[int, Judgement],
    light: LightJudgement | None,
) -> bool:
    """Whether more rounds would add nothing that was asked for."""
    if plan.all_rounds:
        return False
    judges = bool(gates) or plan.light is not None
    if judges and len(decided) == len(gates) and (light is not None or plan.light is None):
        return True
    if any(gate.rule == "classic" for gate in gates):
        return False  # it knows no interval that would tell when to stop: all rounds, or the budget
    precision = plan.precision if judges else plan.precision or MEASURE_PRECISION
    quantiles = {gate.quantile for gate in gates} or {0.5}
    return precision is not None and all(precise_enough(*_stack(rounds), precision, quantile=q) for q in quantiles)


def _carries(rounds: list[Round], plan: Plan) -> bool:
    """Whether the samples tell the percentile that is asked for, of both arms."""
    return plan.percentile is None or all(carries(arm, plan.percentile, plan.precision) for arm in _stack(rounds))


def _stack(rounds: list[Round]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not rounds:
        return np.empty((0, 1)), np.empty((0, 1))
    seconds = np.stack([one.seconds for one in rounds])
    return seconds[:, 0], seconds[:, 1]


def rough_ratio(rounds: list[Round]) -> float:
    """The latest round's ratio of medians, for a live line; of several candidates that of the first."""
    candidate, reference, *_ = np.median(rounds[-1].seconds, axis=1)
    return float(candidate / reference) if reference > 0 else float("nan")
