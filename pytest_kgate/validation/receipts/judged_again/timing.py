"""What a record says of its samples: counts, medians, percentiles, outliers, and the digest of each arm."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import runs_of
from pytest_kgate.statistics.estimates import count_outliers
from pytest_kgate.statistics.intervals.fixed_rounds import of_samples
from pytest_kgate.statistics.intervals.percentiles import PERCENTILES
from pytest_kgate.statistics.judge import measure
from pytest_kgate.validation.receipts.judged_again.compare import differences

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.timing import ArmFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.statistics.estimates import Floats
    from pytest_kgate.statistics.estimates import Interval
    from pytest_kgate.statistics.judge_processes import Run

_ARMS = ("candidate", "reference")


def of_timing(timing: TimingFacts, *, fixed_rounds: bool) -> tuple[list[str], Sequence[Run]]:
    """What does not follow from the samples, and the samples by process; none where they can't be put together.

    `fixed_rounds`: the race took a number of rounds that was asked for, and its interval pays for no looks.

    Raises `KgateError` where samples can't be decoded.
    """
    facts = {"candidate": timing["candidate"], "reference": timing["reference"]}
    arms = [decode_samples(one["samples"]) for one in facts.values()]
    found = [clause for name, array in zip(facts, arms, strict=True) for clause in _of_arm(name, facts[name], array)]
    if arms[0].shape != arms[1].shape or not arms[0].size:
        return [*found, f"timing.candidate.samples are {arms[0].shape}, and the reference's {arms[1].shape}"], []
    processes = timing.get("processes") or []
    rounds = sum(one["rounds"] for one in processes) if processes else len(arms[0])
    if processes:
        most = max(one["samples_per_round"] for one in processes)
        taken = sum(one["rounds"] * one["samples_per_round"] for one in processes)
        if taken != arms[0].size:
            return [*found, f"timing.processes took {taken} samples of an arm, and there are {arms[0].size}"], []
        if len(processes) < 3:
            return [*found, f"timing.processes are {len(processes)}, and no gate is judged on so few"], []
    else:
        most = arms[0].shape[1]
    runs = runs_of(timing)
    tick = timing["tick_seconds"]
    rule = {
        "rounds": rounds,
        "samples_per_round": most,
        "ratio_of_medians": float(np.median(arms[0]) / np.median(arms[1])),
        "outliers": {
            arm: sum(count_outliers(samples, tick) for samples in (getattr(run, arm) for run in runs)) for arm in _ARMS
        },
    }
    found += differences("timing", {name: timing[name] for name in rule}, rule)  # type: ignore[literal-required]
    share = timing.get("evidence", {}).get("tick_share")
    if share is not None:
        shortest = min(float(np.median(array)) for array in arms)
        found += differences("timing.evidence.tick_share", share, tick / shortest if shortest else share)
    if "ratio" in timing:
        interval = None if processes else _interval(runs[0], tick, fixed_rounds)
        found += differences("timing.ratio", timing["ratio"], interval and interval.to_dict())
    for index, (one, run) in enumerate(zip(processes, runs, strict=False)):
        medians = {f"{arm}_seconds": float(np.median(getattr(run, arm))) for arm in _ARMS}
        said = {name: value for name, value in one.items() if name in medians}
        found += differences(f"timing.processes[{index}]", said, {name: medians[name] for name in said})
    return found, runs


def _interval(run: Run, tick: float, fixed_rounds: bool) -> Interval | None:
    if not fixed_rounds:
        return measure(run.candidate, run.reference, offset_sd=run.offset_sd)
    found = of_samples(run.candidate, run.reference, tick_seconds=tick, offset_sd=run.offset_sd)
    return found and found.interval()


def _of_arm(arm: str, facts: ArmFacts, samples: Floats) -> Iterator[str]:
    if not samples.size or not np.isfinite(samples).all():
        return
    asked = [one["quantile"] for one in facts.get("percentiles", ()) if one["quantile"] not in PERCENTILES]
    rule = arm_facts(samples, asked[0] if asked else None)
    path = f"timing.{arm}"
    digest = facts["samples"].get("digest")
    if digest is not None and digest != rule["samples"].get("digest"):
        yield f"{path}.samples are not those that its digest was made of"
    said = {name: value for name, value in facts.items() if name != "samples"}
    expected = {name: value for name, value in rule.items() if name in said}
    yield from differences(path, said, expected)
