"""The plan of one call's memory, from a draw of its inputs and a call of its reference."""

from __future__ import annotations

from typing import Any

import torch

from pytest_kgate.bench.correctness.exact.answer import bytes_of_exact
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.memory.plan import MemoryPlan
from pytest_kgate.bench.memory.plan import Sizes
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import tree

_SEED = 0
"""No secret: no candidate sees the values that it draws."""


def memory_plan(device: Device, problem: Problem, candidate: Arm, reference: Arm) -> tuple[MemoryPlan, Any]:
    """What a call is going to hold, and what answers look like, as `reference_output` has it."""
    available = device.available_bytes()
    with device.running("drawing the inputs"):
        inputs = workload_of(problem, device).draw(_SEED)
    on_gpu = torch.device(device.torch_device).type == "cuda"  # a fake device only says that it is one
    before = 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device.torch_device)
        before = torch.cuda.memory_allocated(device.torch_device)
    like = reference_output(device, problem, reference, inputs)
    outputs = sum(one.numel() * one.element_size() for one in tree.tensors(like))
    beside = torch.cuda.max_memory_allocated(device.torch_device) - before - outputs if on_gpu else 0
    with device.running("trying how the exact answer can be cut"):
        exact, working = bytes_of_exact(problem, inputs, like)
    sizes = Sizes(tree.size_bytes(inputs), outputs, exact, working, max(0, beside))
    return MemoryPlan(sizes, on_gpu, candidate.takes_output, available), like
