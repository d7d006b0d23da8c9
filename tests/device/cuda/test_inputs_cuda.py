"""Inputs and outputs that a timed call gives another form, on a real GPU: told, also of the copies for a cold cache."""

from __future__ import annotations

import pytest
import torch
from gpu_races import raced

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
def test_last_of_the_inputs_in_another_form_is_told(device, workload, timer, cache, change):
    """With a cold cache the first set of inputs is one of many; only the others are changed here."""
    seen = {}

    def candidate(inputs, output):
        x = inputs[0]
        answer = x.add(1)
        seen.setdefault(x.data_ptr(), len(seen))
        if len(seen) > 2 or cache == "hot":
            CHANGES[change](x)
        return answer

    with pytest.raises(TimingError, match="another class, other memory or other strides in timed calls"):
        raced(device, workload, candidate, lambda inputs, output: inputs[0].add(1), timer=timer, cache=cache)


@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_inputs_that_are_left_as_they_are_are_raced(device, workload, cache):
    def add(inputs, output):
        return inputs[0].add(1)

    _, result = raced(device, workload, add, add, cache=cache, bound=1.5)
    assert result.ratio is not None
