"""TF32 on a GPU: a wrong weight behind convolutions is told from what TF32 does to its column, other kernels pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.gpu

LAYERS, CHANNELS, CLASSES = 16, 64, 200


def model(dtype, *, wrong=0.0, layout=torch.contiguous_format):
    torch.manual_seed(5)
    layers = []
    for layer in range(LAYERS):
        layers += [nn.Conv2d(CHANNELS if layer else 3, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)]
        layers.append(nn.ReLU())
    last = nn.Linear(CHANNELS, CLASSES, bias=False)
    last.weight.data[CLASSES // 2, CHANNELS // 2] += wrong / math.sqrt(CHANNELS)
    found = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    return found.to("cuda", dtype, memory_format=layout).requires_grad_(False)


def outcome(candidate):
    from pytest_kgate.device.cuda.device import CudaDevice

    reference, exact = model(torch.float32), model(torch.float64)
    problem = Problem(
        name="a net",
        inputs=lambda g: (torch.rand(16, 3, 32, 32, generator=g, device=g.device),),
        reference=reference.forward,
        exact=lambda x: exact(x.double()),
    )
    arms = bind("candidate", candidate.forward, {}), bind("reference", reference.forward, {})
    return check(CudaDevice(0), problem, *arms, None, 42)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_other_kernels_are_right(monkeypatch, layout):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    found = outcome(model(torch.float32, layout=layout))
    assert found.verdict is Verdict.PASS, found.reason
    assert max(draw.worst_slice.excess for draw in found.draws) < 0.6


def test_one_wrong_weight_is_found_in_its_column(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    found = outcome(model(torch.float32, wrong=0.5))
    assert found.failed in ("tolerance", "rows", "slices")
    assert {(draw.worst_slice.axis, draw.worst_slice.index) for draw in found.draws} == {(1, CLASSES // 2)}
    assert min(draw.worst_slice.excess for draw in found.draws) > 1


def test_settings_are_what_they_were_and_without_tf32_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    found = outcome(model(torch.float32))
    assert found.verdict is Verdict.PASS
    assert all(draw.worst_slice is None for draw in found.draws)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert outcome(model(torch.float32)).draws[0].worst_slice is not None
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
