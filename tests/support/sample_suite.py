"""The heads of a user's files, as tests write them: a small problem, and a device on which the truth is known."""

from __future__ import annotations

RELU = """
import pytest
import torch
from pytest_kgate import Problem, Shape

RELU = Problem(
    name="relu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)
"""

ZEROS = """
import pytest
import torch
from pytest_kgate import GateFailure, Problem

RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

def zeros(x):
    return torch.zeros_like(x)
"""
"""With a candidate that is wrong."""

_DEVICE = """
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White

class Device(FakeDevice):
    kind = "KIND"

@pytest.fixture(scope="session")
def kgate_device():
    return Device({"candidate": RATIO * 1e-5, "reference": 1e-5}, noise=White(NOISE))
"""


def fake_device(ratio: float = 0.8, noise: float = 0.01, kind: str = "fake") -> str:
    """A conftest.py with a device on which every candidate has this latency ratio.

    `noise` is the standard deviation of a sample's log latency. A device of kind `cuda` takes CUDA kernels.
    """
    return _DEVICE.replace("RATIO", str(ratio)).replace("NOISE", str(noise)).replace("KIND", kind)
