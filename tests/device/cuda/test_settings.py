"""Settings of a user's environment under which a GPU is timed otherwise, or not at all; no GPU is needed."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
from stand_in_gpu import stand_in_gpu

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.device.cuda.second_context import UNAVAILABLE
from pytest_kgate.device.cuda.timers.capture import refusals
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError

ARMS = [Arm(name, lambda inputs, output: None, False) for name in ("candidate", "reference")]


def unopened():
    return CudaDevice.__new__(CudaDevice)


@pytest.mark.parametrize("timer", ["auto", "graph", "queue"])
def test_launches_that_block_are_said_to_be_why_nothing_can_be_queued(monkeypatch, timer):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    with pytest.raises(TimingError, match="CUDA_LAUNCH_BLOCKING is set"):
        unopened().stopwatch(ARMS, None, timer=timer, cache="hot")


@pytest.mark.parametrize("value", ["", "0"])
def test_launches_do_not_block_where_the_variable_is_off(monkeypatch, value):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", value)
    assert not unopened().launches_block


def test_graphs_are_not_used_with_an_allocator_that_is_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "cudaMallocAsync")
    found = refusals(unopened(), ARMS, None)
    assert set(found) == {"candidate", "reference"}
    assert "cudaMallocAsync" in found["candidate"]


def test_graphs_are_not_used_where_new_values_of_an_input_lie_elsewhere(monkeypatch):
    """A captured call would go on reading the memory of the old ones: another answer, and no fault of the kernel."""
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
    monkeypatch.setattr(CudaDevice, "running", lambda self, doing: contextlib.nullcontext())
    sparse = torch.eye(3).to_sparse()
    found = refusals(unopened(), ARMS, SimpleNamespace(draw=lambda seed: ({"a": [sparse]}, torch.ones(3))))
    assert set(found) == {"candidate", "reference"}
    assert found["candidate"].startswith("an input is sparse")


def test_race_without_a_second_context_says_what_it_may_read(monkeypatch):
    gpu = stand_in_gpu(monkeypatch)
    arms = (Arm("candidate", lambda inputs, output: inputs[0], False),) * 2
    workload = Workload(lambda seed: (torch.ones(4),), lambda inputs: torch.empty(4))
    for other, wanted in ((True, []), (False, [UNAVAILABLE])):
        gpu.give_way = lambda other=other: other
        assert QueueStopwatch(gpu, arms, workload, "hot", reference_by_graph=False).warnings == wanted
