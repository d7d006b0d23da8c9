"""A user's file of tests, and a device on which its candidate has a known latency ratio."""

from __future__ import annotations

import textwrap

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

FAKE_DEVICE = """
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White

@pytest.fixture(scope="session")
def kgate_device():
    return FakeDevice({"candidate": RATIO * 1e-5, "reference": 1e-5}, noise=White(NOISE))
"""

PRELUDE = """
import pytest
import torch
from pytest_kgate import Problem, Shape

RELU = Problem(
    name="relu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)

def good(x):
    return torch.relu(x)

def wrong(x):
    return torch.relu(x) + 0.5
"""


@pytest.fixture
def suite(pytester):
    """Write a test file, and a fake device on which the candidate has a known latency ratio."""

    def write(body, ratio=0.8, noise=0.01):
        device = FAKE_DEVICE.replace("RATIO", str(ratio)).replace("NOISE", str(noise))
        pytester.makeconftest(device)
        pytester.makepyfile(PRELUDE + textwrap.dedent(body))
        return pytester

    return write
