"""Winograd's F(4x4, 3x3) with TF32 in its products: coarser than a direct convolution in all channels, and honest."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.exact import tf32_yardstick
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.rounding.tf32 import Operands
from pytest_kgate.problems.rounding.tf32 import cut_off
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS = 16

OF_TILE = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
OF_WEIGHT = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
OF_RESULT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
"""Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016."""


def rounded(values):
    return cut_off((values.contiguous().view(torch.int32) + 2**12).view(torch.float32))


def weights():
    g = torch.Generator().manual_seed(2)
    return torch.randn(CHANNELS, CHANNELS, 3, 3, generator=g) / (9 * CHANNELS) ** 0.5


def winograd(x):
    tile, weight, result = (torch.tensor(one, dtype=torch.float32) for one in (OF_TILE, OF_WEIGHT, OF_RESULT))
    tiles = x.unfold(2, 6, 4).unfold(3, 6, 4)
    tiles = rounded(torch.einsum("ij,ncyxjk,lk->ilncyx", tile, tiles, tile))
    kernels = rounded(torch.einsum("ij,ocjk,lk->iloc", weight, weights(), weight))
    products = torch.einsum("iloc,ilncyx->ilnoyx", kernels, tiles)
    made = torch.einsum("ij,jknoyx,lk->noyixl", result, products, result)
    return made.reshape(len(x), CHANNELS, x.shape[2] - 2, x.shape[3] - 2)


def reference(x):
    on = torch.backends.cudnn.allow_tf32
    with Operands(rounded) if on else contextlib.nullcontext():
        return F.conv2d(x, weights())


@pytest.mark.parametrize("signed", [True, False])
def test_winograd_in_tf32_is_right_beside_a_direct_convolution(monkeypatch, signed):
    monkeypatch.setattr(tf32_yardstick, "tf32_switches", lambda device, dtype: {"convolutions": "it"})
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)

    def draw(g):
        x = torch.randn(2, CHANNELS, 34, 34, generator=g)
        return (x if signed else x.relu(),)

    problem = Problem(
        name="convolution",
        inputs=draw,
        reference=reference,
        exact=lambda x: F.conv2d(x.double(), weights().double()),
    )
    arms = bind("candidate", lambda x: winograd(x), {}), bind("reference", reference, {})
    found = check(HostDevice(), problem, *arms, ErrorGate(0.1), 42)
    assert found.verdict is Verdict.PASS, found.reason
    assert all(draw.worst_slice.times > 4.5 for draw in found.draws)  # more than one slice among others may be off by
    assert all(draw.worst_slice.excess < 0.85 for draw in found.draws)
