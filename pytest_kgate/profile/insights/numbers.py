"""What the rules look at: a record's facts as numbers by name, of which any may be missing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_kgate.report.rows import number

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.record import Record

UNITS = ("tensor", "fma", "alu", "xu", "fp64", "dram", "l2", "l1", "shared", "lsu")
"""Parts of the GPU of which each can be what limits a kernel, by the names of their shares of the peak, in percent."""

_LIMITS = ("limit_blocks", "limit_registers", "limit_shared_mem", "limit_warps")
"""Blocks that fit on a multiprocessor, by what limits them."""

_ROUNDING = 0.01
"""Of the number of waves."""

_POWER = 0x04 | 0x80
"""NVML's reasons for a lower clock: the power cap, the power brake."""

_HEAT = 0x08 | 0x20 | 0x40
"""NVML's reasons for a lower clock: slowdown by the hardware, heat seen by the driver or by the hardware."""


def numbers_of(record: Record) -> Mapping[str, float]:
    """The numbers that rules look at, by name: all that the record knows of the candidate.

    The metrics of its counters have the short names of `kgate metrics`, over all launches of one call. Beside them:

    `launches`: of one call. `busiest`: the largest of the shares in `UNITS`, percent. `occupancy_limit_registers`,
    `..._shared_mem`, `..._blocks`, `..._warps`: 1 where that is what allows the fewest blocks on a multiprocessor.
    `local_share`: part of the first-level cache's bytes that is local memory, percent. `conflict_share`: part of the
    passes over shared memory that is due to conflicts, percent. `needed_bytes`: of the problem. `roofline`: the least
    latency by the rates that the device was seen to attain, in percent of the candidate's. `clock_loss`: by how much
    the SM clock of the race was below the highest, percent. `power_capped`, `heat_capped`: 1 where the GPU said during
    the race that this holds its clock down.
    """
    found = {
        name: float(value) for name, value in {**_of_problem(record), **_of_race(record)}.items() if value is not None
    }
    counters = record.get("counters")
    if counters is not None and counters["candidate"] is not None:
        found.update(_of_counters(counters["candidate"]))
    return MappingProxyType(found)


def _of_counters(arm: ArmCounters) -> dict[str, float]:
    found = {name: facts["value"] for name, facts in arm["metrics"].items()}
    found["launches"] = arm["launch_count"]
    shares = [found[name] for name in UNITS if name in found]
    if shares:
        found["busiest"] = max(shares)
    _add_limits(found)
    _unround_waves(found)
    _add_share(found, "local_share", "local_memory", "l1_bytes")
    _add_share(found, "conflict_share", "bank_conflicts", "shared_wavefronts")
    return found


def _add_limits(found: dict[str, float]) -> None:
    """What allows fewest blocks; shared memory where nothing else allows as few.

    The driver sets aside no more shared memory than as many blocks need as fit by all else, so that its limit can be
    low without being the reason.
    """
    limits = {one: found[one] for one in _LIMITS if one in found}
    for limit, blocks in limits.items():
        others = [of for one, of in limits.items() if one != limit]
        least = blocks < max(others, default=blocks) and blocks <= min(others)
        alone = blocks < min(others, default=blocks)
        found[f"occupancy_{limit}"] = float(alone if limit == "limit_shared_mem" else least)


def _unround_waves(found: dict[str, float]) -> None:
    """Nsight Compute rounds them to hundredths, and a single block more than fit at once makes a second wave."""
    limits = [found[one] for one in _LIMITS if one in found]
    if len(limits) == len(_LIMITS) and min(limits) > 0 and found.get("sm_count") and "waves" in found:
        exact = found.get("blocks", 0.0) / found["launches"] / (found["sm_count"] * min(limits))
        if abs(exact - found["waves"]) < _ROUNDING:
            found["waves"] = exact


def _add_share(found: dict[str, float], name: str, part: str, whole: str) -> None:
    if found.get(whole) and part in found:
        found[name] = min(100 * found[part] / found[whole], 100.0)


def _of_problem(record: Record) -> dict[str, float | None]:
    roofline, timing = record.get("roofline"), record["timing"]
    latency = number(timing["candidate"]["median_seconds"]) if timing else 0.0
    return {
        "needed_bytes": record["problem"]["bytes"] or None,
        "roofline": 100 * roofline["floor_seconds"] / latency if roofline and latency > 0 else None,
    }


def _of_race(record: Record) -> dict[str, float | None]:
    timing = record["timing"]
    evidence = timing.get("evidence") if timing else None
    if not evidence:
        return {}
    reasons = 0
    for reading in evidence.get("machine", ()):
        reasons |= reading["throttle"] or 0
    highest = (record["environment"].get("gpu") or {}).get("sm_clock_max_hz")
    clocks = [number(one) for one in evidence.get("sm_clock_hz", ())]  # type: ignore[attr-defined]  # of open keys
    return {
        "power_capped": float(bool(reasons & _POWER)),
        "heat_capped": float(bool(reasons & _HEAT)),
        "clock_loss": max(0.0, 100 * (1 - statistics.median(clocks) / highest)) if highest and clocks else None,
    }
