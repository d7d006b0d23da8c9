"""A user's file of tests, and a device on which its candidate has a known latency ratio."""

from __future__ import annotations

import textwrap

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from sample_suite import RELU
from sample_suite import fake_device

PRELUDE = (
    RELU
    + """

def good(x):
    return torch.relu(x)

def wrong(x):
    return torch.relu(x) + 0.5
"""
)


@pytest.fixture
def suite(pytester):
    """Write a test file, and a fake device on which the candidate has a known latency ratio."""

    def write(body, ratio=0.8, noise=0.01):
        pytester.makeconftest(fake_device(ratio, noise))
        pytester.makepyfile(PRELUDE + textwrap.dedent(body))
        return pytester

    return write
