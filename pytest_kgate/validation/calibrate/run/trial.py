"""Run one gate of a calibration with the code that races users' kernels, and describe it for the calibration file."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_kgate.bench.race import race
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.statistics import estimates
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.intervals.student_t import p_below
from pytest_kgate.validation.calibrate.cases import UNAVAILABLE
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.rigs.rig import Contest
from pytest_kgate.validation.calibrate.rigs.rig import Rig
from pytest_kgate.validation.calibrate.rigs.spin_model import LaunchFloor
from pytest_kgate.validation.calibrate.rigs.spin_model import SpinModel
from pytest_kgate.validation.calibrate.rigs.spin_model import mean_model

_FLOOR_ROUNDS = 5
_FLOOR_SAMPLES = 10
"""A floor is the median of five rounds: 50 samples, about 20 ms of a GPU's time."""

_SPREAD_SECONDS = 0.16e-6
"""The launches of a spin of known ratio differ by up to this from their mean, for two reasons. A turn of the spin's
loop takes 20 ns on an H200, so that a constant length could miss the wanted ratio by 1 % at 2 us. And what the host
launches one by one the device begins there in steps of some 0.1 us, so that a constant length would read up to half a
step too long or too short, in every launch alike. Lengths that cover three such steps evenly read their mean."""

Gate = dict[str, Any]
"""A line of the calibration file; `calibrate/file.py` says what it holds."""


@dataclass(frozen=True)
class Setting:
    """The timer, cache and budget of all gates of a calibration."""

    timer: str
    cache: str
    budget_seconds: float


class Trials:
    """Runs gates on one rig; before and after each gate of known ratio it measures the launch floor and the clock."""

    def __init__(self, rig: Rig, setting: Setting) -> None:
        self.rig = rig
        self.setting = setting
        self._rough: SpinModel | None = None
        """Good enough to choose the cycles of two equal kernels."""

    def run(self, case: Case, seed: int) -> Gate:
        """Race the case once. An error becomes a gate with the verdict ERROR; only a lost device raises."""
        start = time.perf_counter()
        try:
            gate = self._spin_gate(case, seed) if case.kernel == "spin" else self._plain_gate(case, seed)
        except (CandidateError, UsageError):
            raise  # the device faulted or hung, or has no such timer: the process can't go on
        except (KgateError, RuntimeError) as error:
            gate = {"verdict": "ERROR", "reason": str(error)}
        return {"case": case.name, "seed": seed, "bound": case.bound, **gate, "seconds": time.perf_counter() - start}

    def _plain_gate(self, case: Case, seed: int) -> Gate:
        try:
            contest = self.rig.contest(case, self.setting.timer, self.setting.cache, seed)
        except CandidateError:
            raise
        except (KgateError, RuntimeError) as error:
            return {"verdict": UNAVAILABLE, "reason": str(error)}
        return self._race(case, contest, seed)

    def _race(self, case: Case, contest: Contest, seed: int) -> Gate:
        stopwatch = contest.device.stopwatch(
            contest.arms, contest.workload, timer=self.setting.timer, cache=self.setting.cache
        )
        try:
            plan = race.Plan(self.setting.budget_seconds, seed)
            result = race.run(stopwatch, [SpeedGate(case.bound)], plan, contest.device.clock)
        finally:
            stopwatch.close()
        gate = describe(result, case.bound)
        return {
            **gate,
            "timer": stopwatch.timer,
            "cache": stopwatch.cache,
            "warnings": list(stopwatch.warnings),
            "backend": contest.backend,
        }

    def _spin_gate(self, case: Case, seed: int) -> Gate:
        assert case.seconds is not None
        if case.true_ratio == 1:
            cycles = self.cycles_for(case.seconds, seed + 1)
            return self._race(case, self.rig.spins(cycles, cycles, seed), seed)
        assert case.true_ratio is not None
        clocks = [self.rig.clock_hz()]
        spread = _spread(clocks[0])
        floors = [self.read_floor(seed + 1, clocks[0])]
        model = mean_model(tuple(floors), tuple(clocks))
        candidate, reference = model.pair(case.seconds, case.true_ratio, spread)
        gate = self._race(case, self.rig.spins(candidate, reference, seed, spread), seed)
        clocks.append(self.rig.clock_hz())
        floors.append(self.read_floor(seed + 2, clocks[1]))
        model = mean_model(tuple(floors), tuple(clocks))
        spent = [self._spent(cycles, spread) for cycles in (candidate, reference)]
        return {
            **gate,
            "spin": {
                "candidate_cycles": candidate,
                "reference_cycles": reference,
                "spread_cycles": spread,
                "clock_hz": clocks,
                "floor_seconds": [floor.spin_seconds for floor in floors],
                "null_seconds": [floor.null_seconds for floor in floors],
                "candidate_spent_cycles": spent[0],
                "reference_spent_cycles": spent[1],
                "candidate_model_seconds": model.reading(spent[0]),
                "reference_model_seconds": model.reading(spent[1]),
                "true_ratio": model.ratio(*spent),
            },
        }

    def cycles_for(self, seconds: float, seed: int) -> int:
        """Cycles of a spin kernel of about this latency, by the floor and clock that this process measured first."""
        if self._rough is None:
            clock_hz = self.rig.clock_hz()
            self._rough = mean_model((self.read_floor(seed, clock_hz),), (clock_hz,))
        return self._rough.cycles_for(seconds)

    def read_floor(self, seed: int, clock_hz: float) -> LaunchFloor:
        """The launch floor: the timer's reading of an empty kernel, and of short spins less the cycles they spend."""
        spread = _spread(clock_hz)
        cycles = 2 * spread
        contest = self.rig.spins(None, cycles, seed, spread)
        stopwatch = contest.device.stopwatch(
            contest.arms, contest.workload, timer=self.setting.timer, cache=self.setting.cache
        )
        rng, book = np.random.default_rng(seed), SeedBook(seed)
        samples = np.repeat(np.arange(2), _FLOOR_SAMPLES)
        try:
            rounds = [
                stopwatch.round(book.round(number, probed=False), rng.permutation(samples))
                for number in range(_FLOOR_ROUNDS)
            ]
        finally:
            stopwatch.close()
        null, spin = np.median([estimates.estimate(one.seconds) for one in rounds], axis=0)
        return LaunchFloor(spin_seconds=float(spin) - self._spent(cycles, spread) / clock_hz, null_seconds=float(null))

    def _spent(self, cycles: int, spread: int) -> float:
        """Mean cycles beyond those of a spin of 0 cycles, which count as a part of the launch floor."""
        return self.rig.spent_cycles(cycles, spread) - self.rig.spent_cycles(0)


def _spread(clock_hz: float) -> int:
    return round(_SPREAD_SECONDS * clock_hz)


def describe(result: race.Race, bound: float) -> Gate:
    """The line of the calibration file that is kept of a race with one gate."""
    (judgement,) = result.judgements
    timed = result.rounds > 0
    return {
        "verdict": judgement.verdict.value,
        "reason": judgement.reason if judgement.verdict is Verdict.INVALID else "",
        "rounds": judgement.rounds,
        "look": judgement.look,
        "ratio": None if judgement.ratio is None else judgement.ratio.to_dict(),
        "ratio_of_medians": judgement.ratio_of_medians,
        "p_value": judgement.p_value,
        "first_look_p_value": first_look_p_value(result, bound),
        "autocorrelation": judgement.autocorrelation,
        "candidate_seconds": float(np.median(result.candidate)) if timed else None,
        "reference_seconds": float(np.median(result.reference)) if timed else None,
        "overhead_seconds": np.median(result.overhead_seconds, axis=0).tolist() if timed else None,
        "retaken": result.retaken,
        "race_seconds": result.spent_seconds,
        "evidence": {name: float(np.median(values)) for name, values in result.evidence.items()},
    }


def first_look_p_value(result: race.Race, bound: float) -> float | None:
    """One-sided p value of `ratio >= bound` after the rounds of the first look, which every race has.

    The p value of the look that decided is not uniform even in theory, since which look decides depends on the samples.
    """
    rounds = LOOKS[0]
    candidate, reference = result.candidate[:rounds], result.reference[:rounds]
    if len(candidate) < rounds or not (np.isfinite(candidate) & np.isfinite(reference)).all():
        return None
    if min(float(candidate.min()), float(reference.min())) <= 0:
        return None
    test = estimates.block_test(estimates.log_ratios(candidate, reference))
    return p_below(test.mean - math.log(bound), test.se, estimates.BLOCKS - 1)
