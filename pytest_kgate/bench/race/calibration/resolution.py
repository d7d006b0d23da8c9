"""Tell a user what the device's last calibration means: bounds too tight for it to decide, and its date."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.race.calibration.device_calibration import Calibration
from pytest_kgate.bench.race.calibration.device_calibration import identity_of
from pytest_kgate.bench.race.calibration.device_calibration import lookup
from pytest_kgate.bench.race.calibration.device_calibration import resolved_effect
from pytest_kgate.report import format as text

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Stopwatch
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gates import SpeedGate


def too_tight(environment: Mapping[str, Any], stopwatch: Stopwatch, gates: Sequence[SpeedGate]) -> list[str]:
    """A warning for each gate whose bound lies closer to 1 than this device decides within the budget.

    Such a gate can't tell its bound from "equally fast": a candidate that meets speedup(0.999) with as much again to
    spare would mostly end undecided. A bound of exactly 1 claims no size, and is never too tight.
    """
    if not gates:
        return []
    calibration = lookup(environment, stopwatch.timer, stopwatch.cache)
    latency = stopwatch.reference_seconds
    effect = resolved_effect(calibration, latency) if calibration else None
    if calibration is None or effect is None:
        return []
    margins = {gate.bound: math.expm1(abs(math.log(gate.bound))) for gate in gates}
    return [
        f"the bound {text.bound(bound)} is {text.percent(margin)} from equally fast, and the calibration of "
        f"{_day(calibration)} found that a gate on a kernel of {text.seconds(latency)} resolves {text.percent(effect)} "
        f"within {calibration.budget_seconds:g} s: a ratio closer than that to the bound mostly ends INCONCLUSIVE"
        for bound, margin in margins.items()
        if 0 < margin < effect
    ]


def summary(records: Iterable[Record]) -> list[str]:
    """A line for each device, timer and cache that judged gates: when it was calibrated, or how to do so."""
    used: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for record in records:
        timing = record.get("timing")
        if record["gates"] and timing:
            environment = record["environment"]
            used.setdefault((identity_of(environment), timing["timer"], timing["cache"]), environment)
    return [_line(environment, timer, cache) for (_, timer, cache), environment in used.items()]


def _line(environment: Mapping[str, Any], timer: str, cache: str) -> str:
    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    name = gpu.get("name") or cpu.get("model") or environment.get("device", "this device")
    where = f"{name}, {timer} timer, {cache} cache"
    found = lookup(environment, timer, cache)
    if found is None:
        return f"calibration of {where}: none; `{_command(environment, timer, cache)}` measures how often its gates err"
    verdict = "" if found.accepted else "not passed, "
    return (
        f"calibration of {where}: {_day(found)}, {verdict}"
        f"{text.counted(found.false_passes, 'false pass')} and {text.counted(found.false_fails, 'false fail')} of "
        f"{text.counted(found.gates, 'gate')}"
    )


def _command(environment: Mapping[str, Any], timer: str, cache: str) -> str:
    """The command that calibrates this device, timer and cache."""
    parts = ["kgate calibrate"]
    if environment.get("device") in ("host", "fake"):
        parts.append(f"--device {environment['device']}")
    if timer in ("queue", "eager"):
        parts.append(f"--timer {timer}")
    if cache != "hot":
        parts.append(f"--cache {cache}")
    return " ".join(parts)


def _day(calibration: Calibration) -> str:
    return calibration.date[:10]
