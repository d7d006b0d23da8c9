"""Races on the host of functions of one input, whose values tell the seed that they were drawn from."""

from __future__ import annotations

import numpy as np
import torch

from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Workload


def filled(seed):
    """Inputs that tell which seed they were drawn from; of a shape that nothing else in the process has."""
    return (torch.full((3, 5, 7), float(seed)),)


def stopwatch_of(candidate, reference=lambda x: 2 * x, workload=None):
    arms = bind("candidate", candidate, {}), bind("reference", reference, {})
    workload = workload or Workload(filled, lambda inputs: torch.full_like(inputs[0], torch.nan))
    return HostDevice().stopwatch(arms, workload, timer="auto", cache="hot")


ORDER = np.repeat([0, 1, 0], [2, 4, 2])
