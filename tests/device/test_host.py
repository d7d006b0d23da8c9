"""The host as a device: what its timer says of the arms."""

from __future__ import annotations

import numpy as np
import torch

from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload


def test_latency_of_the_reference_is_that_of_one_call_however_many_make_a_sample():
    """A call of microseconds is repeated a hundred times within a sample."""
    workload = Workload(lambda seed: (torch.zeros(8),), lambda inputs: torch.empty_like(inputs[0]))
    stopwatch = HostDevice().stopwatch(
        (bind("candidate", torch.sin, {}), bind("reference", torch.cos, {})), workload, timer="auto", cache="hot"
    )
    timed = stopwatch.round(RoundSeeds(1, 1), np.repeat([0, 1], 10)).seconds
    assert 0.1 < stopwatch.reference_seconds / np.median(timed[1]) < 10 < stopwatch.sample_seconds / np.median(timed[1])
