"""A test's limits on resources, held to the kernels of the candidate of one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import cast

from pytest_kgate.build.compiler.ninja import build_of
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.profile.resources.compiled import compiled
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.resources.kernel_use import judged
from pytest_kgate.profile.resources.kernel_use import not_judged
from pytest_kgate.profile.resources.launched import launched
from pytest_kgate.system.clocks.deadline import deadline
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Request
    from pytest_kgate.build.compiler.ninja import BuildResult
    from pytest_kgate.device.cuda.device import CudaDevice
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.profile.resources.limits import ResourceLimit
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.record import Record

_NOT_LAUNCHED_AGAIN = ("ERROR", "WRONG", "INVALID")
"""Verdicts on candidates of which a further call may do any harm."""


def judge_resources(
    request: Request,
    device: Device,
    limits: Sequence[ResourceLimit],
    record: Record,
    when_stuck: Callable[[str], None],
    waiting: Callable[[str], None] | None = None,
) -> list[LimitFacts]:
    """Each limit, held to the candidate's own kernels; NOT MEASURED where nothing is known of them.

    On a GPU the candidate is called twice more, outside of all that is timed; `record` is that of its call so far.
    """
    name, build = record["candidate"]["name"], build_of(request.candidate)
    if request.unusable is not None:
        return not_judged(limits, f"{name} could not be built")
    if attribute(request.candidate, "device_kind", str) == "host":
        return not_judged(limits, f"{name} is compiled for the CPU, which has none of these resources")
    if build is not None and not build.resources:
        return not_judged(limits, f"{name} has no CUDA kernel of its own, and is not held to those that it calls")
    if build is not None and "-DKGATE_DEBUG" in build.flags:
        return not_judged(limits, f"{name} is a debug build, and what it asserts takes registers")
    why = _not_launched(request, device, record)
    if why is None and isinstance(device, CudaContext):
        lease = record["environment"].get("gpu", {}).get("uuid", device.kind)
        seconds = request.settings.timeout
        with leased(lease, seconds, waiting), deadline(seconds, f"a call of {name}", when_stuck):
            found = launched(cast("CudaDevice", device), request.candidate, request.problem)
        uses = found if isinstance(found, list) else []
        own = uses if build is None else _own(uses, build)
        if own:
            return judged(limits, own)
        why = found if isinstance(found, str) else "it launches no kernel of its own"
    if build is None:
        return not_judged(limits, f"{name} was not compiled here, and {why}")
    return judged(limits, compiled(request.candidate, request.problem), f"compiled for {build.arch}", why or "")


def _not_launched(request: Request, device: Device, record: Record) -> str | None:
    """Why the candidate is not launched to be looked at, as a clause; None where it is."""
    if not isinstance(device, CudaContext):
        return "no GPU runs it"
    if request.settings.isolate:
        return "it runs in a process of its own"
    if request.settings.until == "build":
        return "it is not to be called"
    if device.lost is not None:
        return f"the CUDA context was lost ({device.lost})"
    if record["verdict"] in _NOT_LAUNCHED_AGAIN:
        return f"it was not called again, since the verdict is {record['verdict']}"
    return None


def _own(uses: Sequence[KernelUse], build: BuildResult) -> list[KernelUse]:
    """The kernels that were compiled here, with their spills; a library's that it calls are not its own."""
    spills = {one.kernel: one.spill_bytes for one in build.resources}
    return [dataclasses.replace(one, spill_bytes=spills[one.kernel]) for one in uses if one.kernel in spills]
