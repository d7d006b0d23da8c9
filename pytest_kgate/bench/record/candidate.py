"""What a record says of the candidate: its name, its build, and what its call was given."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from pytest_kgate.build.compiler.ninja import build_of
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import name_of

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outcome import Correctness
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.integrity.isolation.candidate import Isolation
    from pytest_kgate.report.record.record import CandidateFacts


def candidate_facts(
    request: Request, arm: Arm | None, correctness: Correctness | None, isolation: Isolation | None
) -> CandidateFacts:
    """Of a kernel that was compiled here, its build; of a plain callable, its name and which params it does not take.

    `arm`, `correctness` and `isolation` are None where the call broke off before them, or ran without.
    """
    candidate: Any = request.candidate
    build = build_of(candidate)
    facts: CandidateFacts = {
        "name": request.name or name_of(candidate),
        "implementation": attribute(candidate, "implementation", str) if build else None,
        "knobs": dict(attribute(candidate, "knobs", dict) or {}) if build else {},
        "source_hash": build.source_hash if build else None,
        "flags": list(build.flags) if build else [],
        "arch": build.arch if build else None,
        "resources": [one.to_dict() for one in build.resources] if build else [],
        "ignored_params": list(arm.ignored_params) if arm else [],
    }
    told = isolation.told if isolation else None
    takes_out = told.takes_out if told else arm.takes_output if arm else None
    if takes_out is not None:
        facts["takes_out"] = takes_out
    weights = told.weights if told else attribute(candidate, "weights", str)
    if request.problem.published is not None and weights is not None:
        facts["weights"] = weights
    if correctness and correctness.failed:
        from pytest_kgate.problems.trees.modules import why_wrong  # here, since it needs PyTorch

        found = {"training": list(told.training)} if told else why_wrong(candidate, request.problem.reference)
        facts |= cast("CandidateFacts", {name: names for name, names in found.items() if names})
    return facts
