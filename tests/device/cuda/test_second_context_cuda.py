"""What a session has run before does not show in what its kernels read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpu_races import raced

from pytest_kgate.device.cuda.second_context import second_context
from pytest_kgate.device.protocol import Workload

pytestmark = pytest.mark.gpu

KERNELS = 4
"""Of a call: each takes up to 0.35 us longer in the other state."""


def products(inputs, output):
    answer = inputs[0]
    for _ in range(KERNELS):
        answer = answer @ inputs[1]
    return answer


def latency(device, before):
    """Median seconds of products, where `before` has run on the GPU ahead of each round."""

    def draw(seed):
        before()
        return torch.randn(8, 512, 64, device="cuda").half(), torch.randn(64, 64, device="cuda").half() / 8

    workload = Workload(draw, lambda inputs: torch.empty_like(inputs[0]))
    _, result = raced(device, workload, products, products, bound=1.0)
    return float(np.median(result.candidate))


def test_kernels_read_alike_whatever_ran_before_on_other_streams(device):
    def on_the_default_stream():
        for _ in range(64):
            device.instruments.null(torch.cuda.default_stream())

    def in_another_context():
        second_context(device.index, device.instruments.image).take_turn()

    kept_busy, left = latency(device, on_the_default_stream), latency(device, in_another_context)
    print(f"{kept_busy * 1e6:.3f} us and {left * 1e6:.3f} us")
    assert kept_busy == pytest.approx(left, rel=0.01)


def test_turn_of_the_second_context_leaves_the_first_current_and_its_memory_whole(device):
    values = torch.arange(1 << 20, device="cuda")
    assert device.give_way()
    assert int((values + 1).sum()) == (1 << 20) * ((1 << 20) + 1) // 2
