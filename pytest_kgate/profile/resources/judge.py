"""A test's limits on resources, held to the kernels of the candidate of one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.profile.resources.compiled import compiled
from pytest_kgate.profile.resources.kernel_use import judged
from pytest_kgate.profile.resources.kernel_use import not_judged

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.profile.resources.limits import ResourceLimit
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.record import Record


def judge_resources(
    request: Request, device: Device, limits: Sequence[ResourceLimit], record: Record
) -> list[LimitFacts]:
    """Each limit, held to the candidate's own kernels; NOT MEASURED where nothing is known of them."""
    return _by_compiler(request, limits)


def _by_compiler(request: Request, limits: Sequence[ResourceLimit]) -> list[LimitFacts]:
    """By what the compiler reports, without a launch."""
    candidate: Any = request.candidate
    name = request.name or getattr(candidate, "name", None) or getattr(candidate, "__name__", type(candidate).__name__)
    build = getattr(candidate, "build", None)
    if request.unusable is not None:
        return not_judged(limits, f"{name} could not be built")
    if build is None:
        return not_judged(limits, f"{name} is no kernel that was compiled here, and no GPU has run it")
    if candidate.device_kind != "cuda":
        return not_judged(limits, f"{name} is compiled for the CPU, which has none of these resources")
    return judged(limits, compiled(candidate, request.problem), f"compiled for {build.arch}")
