"""What of the host matters to gates: who else works there, what a container may have, how the CPU is governed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pytest_kgate.statistics.wording import percent
from pytest_kgate.system.cpu_load import CpuTimes
from pytest_kgate.system.cpu_load import cpu_times
from pytest_kgate.validation.machine.finding import Finding

_LOOK_SECONDS = 1.0
"""How long other work is watched for: the system counts the time of cores in steps of 10 ms."""

_OTHERS_CORES = 0.2
"""Cores that others must take before a race on the host puts waiting down to them."""

_STEAL = 0.02
"""Share of a core's time that the host of a virtual machine takes, above which it shows in latencies."""

_CORES_OF_GPU_RACE = 1.0
"""A race on a GPU needs one core, which fills the stream while the kernels run."""


def of_host(kind: str, threads: int, root: Path = Path("/")) -> list[Finding]:
    """Look at the host for `_LOOK_SECONDS`; `kind` is where the gates' kernels run: `host` or `cuda`.

    `threads` are those that PyTorch calls the candidates' reference with; `root` is where /proc and /sys are found.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = cpu_times()
    time.sleep(_LOOK_SECONDS)
    found = [load(before, cpu_times(), kind, cores, threads), quota(kind, cores, threads, root)]
    return [*found, *governor(kind, root), *blocking(kind)]


def load(before: CpuTimes, after: CpuTimes, kind: str, cores: int, threads: int) -> Finding:
    """What other processes, and the host of a virtual machine, took of the CPU between two readings."""
    wall = max(after.wall - before.wall, 1e-9)
    foreign = max(0.0, (after.foreign - before.foreign) / wall)
    steal = max(0.0, (after.steal - before.steal) / wall)
    taken = foreign + steal
    wanted = threads if kind == "host" else _CORES_OF_GPU_RACE
    found = f"others keep {taken:.1f} of this machine's cores busy"
    if steal > _STEAL:
        found += f", {percent(steal)} of a core by other virtual machines"
    if taken < _OTHERS_CORES:
        return Finding("CPU load", "ok", found)
    if taken + wanted <= cores:
        return Finding("CPU load", "costs", found, "intervals are wider, and undecided races more frequent")
    cost = (
        "arms wait for cores, and races that this can have decided become INVALID"
        if kind == "host"
        else "the stream runs dry while the host waits for a core, and such races become INVALID"
    )
    return Finding("CPU load", "unfit", found, cost, "End the other work, or run gates when it is over.")


def quota(kind: str, cores: int, threads: int, root: Path) -> Finding:
    """Whether this process's container may use its cores all the time (cgroup's `cpu.max`, or `cfs_quota_us`)."""
    allowed = _quota(root)
    if allowed is None or allowed >= cores:
        return Finding("CPU quota", "ok", f"no limit below the {cores} usable cores")
    found = f"the container may use {allowed:g} of {cores} cores on average"
    wanted = threads if kind == "host" else _CORES_OF_GPU_RACE
    if allowed >= wanted:
        return Finding("CPU quota", "costs", found, "builds and checks with more threads than that are stopped for ms")
    return Finding(
        "CPU quota",
        "unfit",
        found,
        f"{wanted:g} threads use that up, and are then all stopped for up to 100 ms, which no reading shows",
        f"Give the container whole cores (docker run --cpuset-cpus), or set OMP_NUM_THREADS={max(1, int(allowed))}."
        if kind == "host"
        else "Give the container whole cores (docker run --cpuset-cpus).",
    )


def governor(kind: str, root: Path) -> list[Finding]:
    """How the CPU's clock follows its load; nothing where the system does not tell, as in most virtual machines."""
    names = set()
    for file in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):
            names.add(file.read_text().strip())
    if not names:
        return []
    found = ", ".join(sorted(names))
    if names == {"performance"}:
        return [Finding("CPU governor", "ok", found)]
    cost = (
        "the clock follows the load, so latencies differ from round to round, and intervals are wider"
        if kind == "host"
        else "launches take longer after a pause; only the eager timer shows it"
    )
    return [
        Finding(
            "CPU governor", "costs", found, cost, "An administrator can set it: cpupower frequency-set -g performance."
        )
    ]


def blocking(kind: str) -> list[Finding]:
    """Whether the environment makes every launch wait for its kernel."""
    if kind != "cuda" or os.environ.get("CUDA_LAUNCH_BLOCKING") in (None, "", "0"):
        return []
    return [
        Finding(
            "launches",
            "unfit",
            "CUDA_LAUNCH_BLOCKING is set",
            "no launch can be queued behind another: only the eager timer works",
            "Unset it.",
        )
    ]


def _quota(root: Path) -> float | None:
    """Cores that the tightest control group of this process may use on average; None without a limit."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                base = root / "sys/fs/cgroup"
            elif "cpu" in controllers.split(","):
                base = root / "sys/fs/cgroup/cpu"
            else:
                continue
            group = base / path.lstrip("/")
            found += [_share(one) for one in (group, *group.parents) if one == base or base in one.parents]
    known = [share for share in found if share is not None]
    return min(known) if known else None


def _share(group: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # "max" is no number
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((group / "cpu.cfs_quota_us").read_text())
        return quota_us / int((group / "cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    return None
