"""Why there are no counters: what Nsight Compute says, and what can be known before it is started.

Each reason is one sentence about what happened and one about what to do. A reason that holds for the machine, and not
for one kernel, is found once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PARAMETERS = Path("/proc/driver/nvidia/params")
_STATUS = Path("/proc/self/status")

_CAP_SYS_ADMIN = 21
_CAP_PERFMON = 38
"""Bits of CapEff in /proc/self/status."""

_PERMISSION = (
    "The NVIDIA driver lets only administrators read performance counters here. "
    "Load it with NVreg_RestrictProfilingToAdminUsers=0, or give this process the capability CAP_SYS_ADMIN (docker run "
    "--cap-add SYS_ADMIN; newer drivers take CAP_PERFMON); `grep RmProfilingAdminOnly /proc/driver/nvidia/params` "
    "reads 0 where all users may."
)


@dataclass(frozen=True)
class _Refusal:
    """One thing that Nsight Compute says where it can measure nothing on this machine."""

    said: str
    """A pattern of its message."""
    reason: str
    """May use `{tool}`."""


_REFUSALS = (
    _Refusal(r"ERR_NVGPUCTRPERM", _PERMISSION),
    _Refusal(
        r"driver is not compatible with Nsight Compute",
        "{tool} does not fit this GPU's driver. Put the ncu of a CUDA toolkit on PATH that is no newer than the CUDA "
        "version which nvidia-smi shows, or update the driver.",
    ),
    _Refusal(
        r"Windows Subsystem for Linux",
        "Performance counters can't be read on this GPU under the Windows Subsystem for Linux. Use Linux itself, or a "
        "driver and an ncu that support it.",
    ),
    _Refusal(
        r"(?i)\bvGPU\b|virtual GPU",
        "This is a virtual GPU whose host does not pass performance counters on. Have profiling enabled for this "
        "virtual machine (the vGPU plugin's parameter enable_profiling), or use a whole GPU.",
    ),
    _Refusal(
        r"Profiling is not supported on device",
        "{tool} does not know this GPU. Use a newer one (`ncu --list-chips` shows which it knows).",
    ),
    _Refusal(
        r"driver resource was unavailable",
        "Another program holds this GPU's performance counters, or the virtual machine passes none on. Pause "
        "monitoring (`dcgmi profile --pause`) and end other profilers.",
    ),
    _Refusal(
        r"LibraryNotLoaded",
        "{tool} could not load the driver's profiling library. In a container, NVIDIA_DRIVER_CAPABILITIES must have "
        "compute and utility; else its version does not fit the driver.",
    ),
    _Refusal(
        r"lock file",
        "{tool} could not take its lock, a file that another user's run has left. Remove it (nsight-compute-lock in "
        "/tmp), or set TMPDIR to a folder of your own.",
    ),
    _Refusal(
        r"Cannot (?:lock GPU clock|.*) on MIG",
        "Nsight Compute can't measure on this MIG slice. Use a whole GPU.",
    ),
)

_UNKNOWN_METRIC = re.compile(r"Failed to find metric (?:regex:\^)?(?P<name>\w+)")
_UNREPLAYED = re.compile(r"Failed to (?:profile|prepare kernel) \"?(?P<kernel>[^\"\n]+)\"?(?: in process \d+)?")
_WAITS = "Launching the workload is taking more time than expected"


def denied() -> str | None:
    """Why this process may read no counters, as far as that is known without trying; None where it may try.

    The driver says whether it lets all users, and the kernel which capabilities this process has.
    """
    try:
        parameters, status = _PARAMETERS.read_text(), _STATUS.read_text()
    except OSError:
        return None
    only_administrators = re.search(r"^RmProfilingAdminOnly: 1$", parameters, re.MULTILINE)
    capabilities = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    if not only_administrators or not capabilities:
        return None
    held = int(capabilities[1], 16)
    return None if held >> _CAP_SYS_ADMIN & 1 or held >> _CAP_PERFMON & 1 else _PERMISSION


def of_machine(said: str, tool: str) -> str | None:
    """Why nothing can be measured here, in what Nsight Compute said; None where it does not say so."""
    complaints = "\n".join(re.findall(r"^==(?:ERROR|WARNING)== .*$", said, re.MULTILINE))
    for refusal in _REFUSALS:
        if re.search(refusal.said, complaints):
            return refusal.reason.format(tool=tool)
    unknown = unknown_metric(said)
    if unknown is not None:
        return f"{tool} knows no metric {unknown} on this GPU. `ncu --query-metrics` lists those that it knows."
    return None


def unknown_metric(said: str) -> str | None:
    """The name of a metric that there is not, or the part of it before the first dot: it ends the collection of all."""
    found = _UNKNOWN_METRIC.search(said)
    return None if found is None else found["name"]


def of_kernel(said: str) -> str | None:
    """Why a kernel could not be measured, in what Nsight Compute said; None where it does not say so."""
    failed = _UNREPLAYED.search(said)
    if failed:
        return (
            f"Nsight Compute could not measure the kernel {failed['kernel']}: {_last_error(said)}. A kernel that waits "
            "for another one, or for the host, can't be run again on its own."
        )
    if _WAITS in said:
        return (
            "Nsight Compute could not run a kernel again on its own: it did not end. A kernel that waits for another "
            "one, or for the host, can't be measured."
        )
    return None


def errors(said: str) -> str:
    """All that Nsight Compute calls an error, on one line."""
    found = re.findall(r"^==ERROR== (.+)$", said, re.MULTILINE)
    return "; ".join(line.strip().rstrip(".") for line in found)


def _last_error(said: str) -> str:
    before = said[: said.find("Failed to ")]
    return errors(before).rpartition("; ")[2] or "it gives no reason"
