"""Other rules by which benchmarks call a kernel faster, applied to the same kernels as the gate's own rule."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.errors import CandidateError
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.intervals.bootstrap import bootstrap_difference
from pytest_kgate.validation.calibrate.cases import UNAVAILABLE
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.rigs.rig import Contest
from pytest_kgate.validation.calibrate.run.trial import Trials

USUAL_SAMPLES = 100
"""Samples of each arm, as many as most benchmark scripts take."""

RULES = {
    "usual": f"{USUAL_SAMPLES} eager samples of the candidate between events, then {USUAL_SAMPLES} of the reference; "
    "passes where the median is below bound times the reference's and the 95 % percentile bootstrap interval of the "
    "difference of medians lies below 0",
    "do_bench": "triton.testing.do_bench of the candidate, then of the reference; passes where the ratio of the "
    "medians is below the bound",
    "kgate": "a race of this plugin",
}
"""Each rule in one sentence, for the report."""


def side_by_side(trials: Trials, case: Case, seed: int) -> list[dict[str, Any]]:
    """The decisions of all rules on one case, in random order, each with fresh arms; without rules that can't run."""
    recipes = {"usual": _usual, "do_bench": _do_bench, "kgate": _ours}
    lines = []
    for name in np.random.default_rng(seed).permutation(list(recipes)):
        start = time.perf_counter()
        try:
            outcome = recipes[str(name)](trials, case, seed)
        except CandidateError:
            raise  # the device faulted or hung: the process can't go on
        except Exception as error:  # Triton's set-up alone can fail in many ways, and must not end ours
            outcome = {"passed": None, "error": f"{type(error).__name__}: {error}"[:200]}
        if outcome is not None:
            seconds = time.perf_counter() - start
            lines.append({"case": case.name, "recipe": str(name), "bound": case.bound, **outcome, "seconds": seconds})
    return lines


def usual_recipe_passes(candidate: Floats, reference: Floats, bound: float, seed: int) -> bool:
    """Whether the usual recipe calls the candidate faster; samples (n,) of each arm, in seconds."""
    if not np.median(candidate) < bound * np.median(reference):
        return False
    # Every sample a round of its own: what the recipe takes for independent.
    interval = bootstrap_difference(candidate[:, None], reference[:, None], 1.0, 0.95, seed=seed)
    return interval.high < 0


def _ours(trials: Trials, case: Case, seed: int) -> dict[str, Any]:
    gate = trials.run(case, seed)
    verdict = gate["verdict"]
    passed = None if verdict in ("ERROR", UNAVAILABLE) else verdict == "PASS"
    return {"passed": passed, "verdict": verdict, "ratio": gate.get("ratio_of_medians")}


def _usual(trials: Trials, case: Case, seed: int) -> dict[str, Any]:
    contest = _contest(trials, case, "eager", seed)
    stopwatch = contest.device.stopwatch(contest.arms, contest.workload, timer=_eager(trials), cache="hot")
    try:
        one = stopwatch.round(RoundSeeds(seed, seed), np.repeat(np.arange(2), USUAL_SAMPLES))
    finally:
        stopwatch.close()
    candidate, reference = one.seconds
    ratio = float(np.median(candidate) / np.median(reference))
    return {"passed": usual_recipe_passes(candidate, reference, case.bound, seed), "ratio": ratio}


def _do_bench(trials: Trials, case: Case, seed: int) -> dict[str, Any] | None:
    if trials.rig.kind != "cuda":
        return None
    try:
        from triton.testing import do_bench
    except ImportError:
        return None
    contest = _contest(trials, case, "eager", seed)
    with contest.device.running("do_bench"):
        inputs = contest.workload.draw(seed)
        outputs = [contest.workload.output_for(arm, inputs) for arm in contest.arms]
        # Milliseconds, with do_bench's own defaults for warm-up, repetitions and the flush of the L2.
        medians = [
            float(do_bench(lambda arm=arm, output=output: arm.call(inputs, output), return_mode="median"))
            for arm, output in zip(contest.arms, outputs, strict=True)
        ]
    contest.device.synchronize()
    ratio = medians[0] / medians[1]
    return {"passed": ratio < case.bound, "ratio": ratio}


def _contest(trials: Trials, case: Case, timer: str, seed: int) -> Contest:
    if case.kernel != "spin":
        return trials.rig.contest(case, timer, "hot", seed)
    assert case.seconds is not None
    cycles = trials.cycles_for(case.seconds, seed + 1)
    return trials.rig.spins(cycles, cycles, seed)


def _eager(trials: Trials) -> str:
    return {"cuda": "eager", "host": "wall"}.get(trials.rig.kind, "auto")
