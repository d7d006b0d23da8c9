"""Inputs and outputs that a timed call gives another form, on a real GPU: told, also of the copies for a cold cache."""

from __future__ import annotations

import pytest
import torch
from gpu_races import raced

from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError

pytestmark = pytest.mark.gpu


class Sleepy(torch.Tensor):
    """As one whose functions sleep."""


CHANGES = {
    "class": lambda x: setattr(x, "__class__", Sleepy),
    "memory": lambda x: x.set_(x.clone()),
    "strides": lambda x: x.as_strided_(x.shape, (0,)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("timer", "cache"), [("graph", "cold"), ("queue", "cold"), ("queue", "hot"), ("eager", "hot")])
def test_inputs_in_another_form_are_told(device, workload, timer, cache, change):
    """With a cold cache the first set of inputs is drawn, and the others are copies of it: only copies are changed."""
    drawn = set()

    def draw(seed):
        inputs = workload.draw(seed)
        drawn.update(one.data_ptr() for one in inputs)
        return inputs

    def candidate(inputs, output):
        x = inputs[0]
        answer = x.add(1)
        if cache == "hot" or x.data_ptr() not in drawn:
            CHANGES[change](x)
        return answer

    races = Workload(draw, workload.make_output)
    with pytest.raises(TimingError, match="another class or sign, other memory or other strides in timed calls"):
        raced(device, races, candidate, lambda inputs, output: inputs[0].add(1), timer=timer, cache=cache)


@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_inputs_that_are_left_as_they_are_are_raced(device, workload, cache):
    def add(inputs, output):
        return inputs[0].add(1)

    _, result = raced(device, workload, add, add, cache=cache, bound=1.5)
    assert result.ratio is not None
