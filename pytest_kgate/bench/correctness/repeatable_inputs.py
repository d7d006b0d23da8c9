"""Whether a problem's inputs are where the race is, and are the same whenever one seed draws them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.check import workload_of
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import UsageError
from pytest_kgate.problems import tree
from pytest_kgate.problems.problem import Problem

_SEED = 0
"""No secret: no candidate sees these values."""


def demand_repeatable(problem: Problem, device: Device) -> None:
    """Draw one seed twice; raises `UsageError` where the two differ, or no tensor is on the device.

    A timed launch is verified later against inputs that are drawn anew, so that others would make it look wrong.
    """
    draw = workload_of(problem, device).draw
    with device.running("drawing the inputs"):
        once = draw(_SEED)
        found = list(tree.tensors(once))
        here = torch.device(device.torch_device)
        if found and all(tensor.device != here for tensor in found):
            raise UsageError(
                f"The inputs of {problem.name} are on {found[0].device}, and the race is on {here}.",
                "Draw them where the generator is: torch.randn(..., generator=g, device=g.device).",
            )
        if not _same(once, draw(_SEED)):
            raise UsageError(
                f"The inputs of {problem.name} do not repeat: one seed drew other values the second time.",
                "Draw all of them from the generator that `inputs` is called with: "
                "torch.randn(..., generator=g, device=g.device).",
            )


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of inputs are alike, tensors byte for byte: NaN equals itself."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and _same_bytes(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) if isinstance(one, (int, float, complex, str)) else type(one) is type(other)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape, one.layout) != (other.dtype, other.shape, other.layout):
        return False
    if not tree.has_span(one) or one.stride() != other.stride():
        return one.layout is not torch.strided or torch.equal(one, other)
    spans = (tree.storage_span(tensor.detach()).resolve_conj().resolve_neg() for tensor in (one, other))
    return torch.equal(*(span.view(torch.uint8) for span in spans))
