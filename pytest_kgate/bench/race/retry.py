"""Run a race, read meanwhile what disturbs it, and race once more where that could have made its verdict.

A disturbance of known size counts against a verdict only where the interval, widened by it, reaches the bound: clock
steps under a power cap, which every large matrix kernel meets, move a ratio by less than a percent, and can't turn a
ratio of 0.5 against a bound of 0.95. One of unknown size counts against every verdict. Two verdicts say more than
which side of the bound a ratio is on: a FAIL by how much the candidate is slower, INCONCLUSIVE that it was too few
rounds. Neither holds where other work may have made these figures (`docs/statistics.md`).

Between rounds the machine is asked what disturbs it, sparsely: such a reading costs 0.3 to 2 ms, as much as some
rounds. The second race takes the place of the first, whatever its own verdict is, and there is never a third.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.bench import seeds
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.evidence.disturbances import Disturbances
from pytest_kgate.bench.race.evidence.disturbances import assess
from pytest_kgate.bench.race.evidence.order_effects import Reason
from pytest_kgate.bench.race.evidence.watch import Watch
from pytest_kgate.bench.race.speed_of_light.judge import bears
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.errors import TimingError
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import Verdict

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Stopwatch
    from pytest_kgate.report.record.facts.timing import EvidenceFacts
    from pytest_kgate.report.record.facts.timing import TryFacts
    from pytest_kgate.statistics.gates import SpeedGate


_KNOWN_WITHIN = math.log(2)
"""Of the log of a ratio that is told: an arm that waited for cores during half of its time was not timed."""


@dataclass(frozen=True)
class ValidRace:
    """The race whose verdict counts, and what was found to disturb it."""

    race: race.Race
    seed: int
    """Of that race."""
    facts: EvidenceFacts
    """For the record."""
    invalid: str | None
    """Why it is not to be trusted, in both tries; None where it is."""
    warnings: tuple[str, ...]


def race_with_retry(
    device: Device,
    stopwatch: Stopwatch,
    gates: Sequence[SpeedGate],
    plan: race.Plan,
    progress: Callable[[race.Progress], None] | None = None,
    *,
    accept_foreign_load: bool = False,
) -> ValidRace:
    """Race; race once more, with another seed and a new budget, where a disturbance counts or the timing broke off.

    With `accept_foreign_load`, other work on the machine becomes a warning, and does not count against the race.
    Raises `TimingError` where the second race breaks off, too. There is none for a plan of so many rounds.
    """
    if plan.rounds is not None:
        return _once(device, stopwatch, plan, progress)
    again = replace(plan, seed=SeedBook(plan.seed).page(Stream.SECOND_RACE).root)
    result: race.Race | None = None
    try:
        result, found = _watched(device, stopwatch, gates, plan, progress)
    except TimingError as error:
        bad = error.what
        tries: list[TryFacts] = [{"seed": seeds.text(plan.seed), "reasons": [bad]}]
    else:
        tries, bad = [_try(plan, result, found)], _undermining(result, found, accept_foreign_load)
    seed, warnings = plan.seed, list[str]()
    if bad:
        result = None  # with the answers that it has kept, whose room the second race needs
        try:
            result, found = _watched(device, stopwatch, gates, again, progress)
        except TimingError as error:
            before = "so did" if error.what == bad else f"not to be trusted ({bad}) was"
            raise TimingError(f"{error.what} It was raced twice: {before} the race before.", error.todo) from error
        tries.append(_try(again, result, found))
        seed, warnings = again.seed, [f"raced a second time, for in the first race {bad.rstrip('.')}"]
    assert result is not None, "the first race ended, or a second one did"
    still = _undermining(result, found, accept_foreign_load)
    borne = () if still else tuple(_borne(reason, accept_foreign_load) for reason in found.reasons)
    return ValidRace(
        race=result,
        seed=seed,
        facts={**found.facts, "tries": tries},
        invalid=f"{still} (the second of two races)" if still else None,
        warnings=(*warnings, *borne, *found.warnings),
    )


def _once(
    device: Device, stopwatch: Stopwatch, plan: race.Plan, progress: Callable[[race.Progress], None] | None
) -> ValidRace:
    result, found = _watched(device, stopwatch, (), plan, progress)
    return measured(plan, result, found)


def measured(plan: race.Plan, result: race.Race, found: Disturbances) -> ValidRace:
    """A race that only measures: what disturbed it becomes warnings, and samples without a ratio make it invalid."""
    return ValidRace(
        race=result,
        seed=plan.seed,
        facts={**found.facts, "tries": [_try(plan, result, found)]},
        invalid=None
        if result.ratio
        else invalid_samples("candidate", result.candidate) or invalid_samples("reference", result.reference),
        warnings=(*(f"disturbed: {reason.text}" for reason in found.reasons), *found.warnings),
    )


def _borne(reason: Reason, accept_foreign_load: bool) -> str:
    accepted = reason.foreign and accept_foreign_load
    return f"{reason.text}: {'accepted, as asked' if accepted else 'too little to turn the verdict'}"


def _undermining(result: race.Race, found: Disturbances, accept_foreign_load: bool) -> str:
    """The reasons not to trust this race, as one text; empty where all of them together can't have made its verdicts.

    Reasons of unknown size always count.
    A race without a gate has no verdict that could bear any: it measures, maybe for one that is judged elsewhere.
    """
    count = [reason for reason in found.reasons if not (reason.foreign and accept_foreign_load)]
    low, high = sum(reason.too_low for reason in count), sum(reason.too_high for reason in count)
    load = max((max(reason.too_low, reason.too_high) for reason in count if reason.foreign), default=0.0)
    borne = [_bears(judgement, low, high, load) for judgement in result.judgements]
    if result.light is not None:
        borne.append(bears(result.light, low, high))
    if borne and math.isfinite(low + high) and all(borne):
        return ""
    return "; ".join(reason.text for reason in count)


def _bears(judgement: Judgement, too_low: float, too_high: float, load: float) -> bool:
    """Whether a verdict stays where the log of the ratio may read so much too low or too high, `load` due to others."""
    ratio, bound = judgement.ratio, judgement.gate.bound
    if ratio is None:
        # It claims nothing but that it needs a larger budget, which other work may be the cause of.
        return judgement.verdict is Verdict.INCONCLUSIVE and load < _KNOWN_WITHIN
    if judgement.verdict is Verdict.PASS:
        return ratio.high * math.exp(too_low) < bound
    if judgement.verdict is Verdict.FAIL:
        return ratio.low * math.exp(-too_high) > bound and load < _KNOWN_WITHIN
    # More rounds beside the same work would not decide it: what lacks is not the budget. Nor is it where the interval
    # is so wide, for the load's sake, that it would hold any load.
    half = math.log(ratio.high / ratio.low) / 2 if ratio.low > 0 else math.inf
    return load < min(half, _KNOWN_WITHIN)


def _try(plan: race.Plan, result: race.Race, found: Disturbances) -> TryFacts:
    return {
        "seed": seeds.text(plan.seed),
        "rounds": result.rounds,
        "seconds_spent": result.spent_seconds,
        "verdicts": [one.verdict.value for one in result.judgements],
        "reasons": [reason.text for reason in found.reasons],
    }


def _watched(
    device: Device,
    stopwatch: Stopwatch,
    gates: Sequence[SpeedGate],
    plan: race.Plan,
    progress: Callable[[race.Progress], None] | None,
) -> tuple[race.Race, Disturbances]:
    watch = Watch(stopwatch, device)
    result = race.run(watch, gates, plan, device.clock, progress)
    return result, assess(watch.log())
