"""What one kernel takes of an SM, as far as it is known, and limits held to what all of a candidate's kernels take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report.format import quantity

if TYPE_CHECKING:
    from pytest_kgate.profile.resources.limits import ResourceLimit
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.limits import LimitVerdict

_KIB = 1024


@dataclass(frozen=True)
class KernelUse:
    """One kernel, or one instance of a template."""

    kernel: str
    """Its name."""
    registers: int
    """Of a thread."""
    local_bytes: int
    """Local memory of a thread, spills included."""
    spill_bytes: int | None
    """Of a thread, stores and loads; None where only the compiler would know."""
    static_shared_bytes: int
    """Shared memory of a block that the compiler knows of."""
    dynamic_shared_bytes: int | None
    """Shared memory of a block that a launch asks for on top; None where no launch is known."""
    blocks_per_sm: int | None
    """How many of its blocks an SM holds at once; None where no launch is known."""

    def least(self, resource: str) -> float | None:
        """What it takes of a resource at least, in the resource's unit; None where nothing is known."""
        return {
            "registers": self.registers,
            "shared_kib": (self.static_shared_bytes + (self.dynamic_shared_bytes or 0)) / _KIB,
            "spills": self.spill_bytes,
            "local_bytes": self.local_bytes,
            "blocks_per_sm": self.blocks_per_sm,
        }[resource]

    def knows(self, resource: str) -> bool:
        """Whether it takes no more than `least` says."""
        if resource == "shared_kib":
            return self.dynamic_shared_bytes is not None
        return self.least(resource) is not None


def judged(
    limits: Sequence[ResourceLimit], uses: Sequence[KernelUse], where: str = "", unseen: str = ""
) -> list[LimitFacts]:
    """Each limit held to each kernel; the kernel that decides is named.

    For reasons, `where` is `compiled for sm_90a`, and `unseen` a clause that says why no launch is known.
    """
    return [_judged(limit, uses, where, unseen) for limit in limits]


def not_judged(limits: Sequence[ResourceLimit], reason: str) -> list[LimitFacts]:
    """The limits of a candidate of whose kernels nothing is known."""
    return [_facts(limit, "NOT MEASURED", reason) for limit in limits]


def _judged(limit: ResourceLimit, uses: Sequence[KernelUse], where: str, unseen: str) -> LimitFacts:
    resource = limit.resource
    upper = resource.sense == "<="
    known = [(use, value) for use in uses if (value := use.least(resource.name)) is not None]
    worst, value = max(known, key=lambda one: one[1] if upper else -one[1], default=(None, None))
    if worst is not None and value is not None and (value > limit.bound if upper else value < limit.bound):
        found = resource.uses.format(kernel=worst.kernel, value=quantity(value, resource.unit))
        allowed = quantity(limit.bound, resource.unit)
        be = "is" if limit.bound == 1 else "are"
        demand = f"at most {allowed} {be} allowed" if upper else f"at least {allowed} {be} demanded"
        place = f" ({where})" if where else ""
        return _facts(limit, "FAIL", f"{found}; {demand}{place}", value, worst.kernel)
    unknown = next((use for use in uses if not use.knows(resource.name)), None)
    if unknown is not None or worst is None:
        reason = resource.unknown.format(kernel=unknown.kernel if unknown else "it")
        return _facts(limit, "NOT MEASURED", f"{reason}, and {unseen}" if unseen else reason)
    return _facts(limit, "PASS", "", value, worst.kernel)


def _facts(
    limit: ResourceLimit, verdict: LimitVerdict, reason: str, value: float | None = None, kernel: str = ""
) -> LimitFacts:
    return {
        "kind": "resources",
        "name": limit.resource.name,
        "sense": limit.resource.sense,
        "bound": limit.bound,
        "unit": limit.resource.unit,
        "value": None if value is None else float(value),
        "interval": None,
        "kernel": kernel,
        "verdict": verdict,
        "reason": reason,
    }
