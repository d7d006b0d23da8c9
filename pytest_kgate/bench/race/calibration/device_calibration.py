"""The findings of a device's last calibration, in the user's cache folder: one file per device, timer and cache."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.build.compiler.cache import explained
from pytest_kgate.build.compiler.cache import root
from pytest_kgate.system import json_file

_VERSION = 1


@dataclass(frozen=True)
class Calibration:
    """The findings of one calibration: how often gates erred, and how small a difference they resolve."""

    identity: str
    """The device and its driver, as `identity_of` names them."""
    timer: str
    cache: str
    date: str
    """ISO 8601, of the latest gate's process."""
    budget_seconds: float
    """Of the races; a smaller budget resolves less."""
    gates: int
    """Kernels raced against themselves."""
    false_passes: int
    false_fails: int
    accepted: bool
    """Whether the device met its acceptance."""
    noise_floor: dict[str, float]
    """By case, the half-width of a ratio's interval at 96 rounds, as a fraction."""
    resolved: tuple[tuple[float, float], ...]
    """(reference latency in seconds, smallest relative distance from the bound that is decided nine times out of
    ten) of the kernels of known latency, shortest first; of all kernels where the device has none."""


def identity_of(environment: Mapping[str, Any]) -> str:
    """The identity under which a calibration is kept: the GPU and its driver, or the CPU and the threads in use."""
    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    if gpu:
        return f"{gpu.get('uuid', 'GPU')} driver {gpu.get('driver', 'unknown')}"
    if cpu:
        return f"{cpu.get('model', 'CPU')} {cpu.get('torch_threads', 0)} threads"
    return str(environment.get("device", "unknown"))


def resolved_effect(calibration: Calibration, latency_seconds: float) -> float | None:
    """The smallest relative distance from the bound that a gate on a kernel of this latency decides, nine times in ten.

    Between the calibrated latencies it is interpolated linearly in the logarithms. Below the shortest, noise is taken
    to stay the same in seconds, so the effect grows as the latency shrinks; above the longest it stays constant. It is
    measured on kernels that only spin, the quietest there are: a gate on a real kernel rarely resolves less than that.
    None where the calibration has no such measurement.
    """
    points = calibration.resolved
    if not points or not latency_seconds > 0:
        return None
    if latency_seconds <= points[0][0]:
        return points[0][1] * points[0][0] / latency_seconds
    for (shorter, coarse), (longer, fine) in itertools.pairwise(points):
        if latency_seconds <= longer:
            share = math.log(latency_seconds / shorter) / math.log(longer / shorter)
            return math.exp((1 - share) * math.log(coarse) + share * math.log(fine))
    return points[-1][1]


def save(calibration: Calibration) -> Path:
    """Write the calibration over an earlier one of the same device, timer and cache; returns the file's path."""
    path = _path(calibration.identity, calibration.timer, calibration.cache)
    with explained():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        json_file.replace(path, json.dumps({"version": _VERSION, **asdict(calibration)}, indent=1))
    return path


def lookup(environment: Mapping[str, Any], timer: str, cache: str) -> Calibration | None:
    """The last calibration of this device with this driver, timer and cache; None where none can be read."""
    try:
        content = json.loads(_path(identity_of(environment), timer, cache).read_bytes())
        if content.pop("version") != _VERSION:
            return None
        content["resolved"] = tuple((float(latency), float(effect)) for latency, effect in content["resolved"])
        return Calibration(**content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(identity: str, timer: str, cache: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{identity}-{timer}-{cache}")
    return root() / "calibration" / f"{readable}.json"
