"""The host as a device: what its timer says of the arms."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import sys
import time

import numpy as np
import pytest
import torch
from host_races import ORDER
from host_races import filled
from host_races import stopwatch_of

from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.host import WallStopwatch
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError


def test_latency_of_the_reference_is_that_of_one_call_however_many_make_a_sample():
    """A call of microseconds is repeated a hundred times within a sample."""
    workload = Workload(lambda seed: (torch.zeros(8),), lambda inputs: torch.empty_like(inputs[0]))
    stopwatch = HostDevice().stopwatch(
        (bind("candidate", torch.sin, {}), bind("reference", torch.cos, {})), workload, timer="auto", cache="hot"
    )
    timed = stopwatch.round(RoundSeeds(1, 1), np.repeat([0, 1], 10)).seconds
    assert 0.1 < stopwatch.reference_seconds / np.median(timed[1]) < 10 < stopwatch.sample_seconds / np.median(timed[1])


def test_new_values_of_a_probe_lie_nowhere_before_they_are_timed():
    """Who finds them among the process's objects computes their answers in calls that no one times."""
    seen, found, looking = set(), set(), False

    def candidate(x):
        if looking:
            seen.add(float(x[0, 0, 0]))
            tensors = [one for one in gc.get_objects() if type(one) is torch.Tensor and one.shape == x.shape]
            found.update({float(one[0, 0, 0]) for one in tensors} & {100.0, 102.0} - seen)
        return 2 * x

    stopwatch = stopwatch_of(candidate)
    gc.collect()
    gc.freeze()  # what is there before the new values need not be looked through in each call
    looking = True
    probe = stopwatch.round(RoundSeeds(1, 1, (100, 101, 102)), ORDER).probe
    assert [(seed, float(answer[0, 0, 0])) for seed, answer in probe.answers] == [(100, 200.0), (102, 204.0)]
    assert {100.0, 102.0} <= seen
    assert not found


@pytest.mark.parametrize("probes", [(), (100, 101, 102)])
@pytest.mark.parametrize("arm", ["candidate", "reference"])
def test_writing_to_inputs_in_timed_calls_is_told_of_the_arm_that_did(arm, probes):
    """Denormals that a candidate leaves there would slow the reference down."""
    racing = False

    def spoils(x):
        answer = 2 * x
        if racing:
            x.fill_(1e-39)
        return answer

    stopwatch = stopwatch_of(spoils) if arm == "candidate" else stopwatch_of(lambda x: 2 * x, spoils)
    racing = True
    with pytest.raises(TimingError, match=f"Input 0 was changed in timed calls of the {arm}"):
        stopwatch.round(RoundSeeds(1, 1, probes), ORDER)


class Sleepy(torch.Tensor):
    """As one whose functions sleep."""


@pytest.mark.parametrize(
    "change",
    [
        lambda x: setattr(x, "__class__", Sleepy),
        lambda x: x.set_(x.clone()),
        lambda x: x.as_strided_(x.shape, (0,) * x.ndim),
        lambda x: x.is_neg() or setattr(x, "data", x._neg_view()),
        lambda x: setattr(x, "mul", lambda other: time.sleep(1e-4) or torch.mul(x, other)),
        lambda x: setattr(x, "data_ptr", lambda: 0),
    ],
    ids=["class", "memory", "strides", "sign", "function", "function that is asked"],
)
def test_input_in_another_form_is_told_of_the_arm_that_made_it(change):
    racing = False

    def candidate(x):
        answer = 2 * x
        if racing:
            change(x)
        return answer

    stopwatch = stopwatch_of(candidate)
    racing = True
    with pytest.raises(
        TimingError, match="another class or sign, other memory or other strides in timed calls of the cand"
    ):
        stopwatch.round(RoundSeeds(1, 1, ()), ORDER)


@dataclasses.dataclass
class Options:
    steps: int = 1


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: {"steps": 1}, lambda one: one.update(steps=100)),
        (lambda: {"steps": 1}, lambda one: one.update(repeats=100)),
        (lambda: {"scales": [1.0, math.nan]}, lambda one: one["scales"].append(1.0)),
        (lambda: [1], lambda one: one.__setitem__(0, True)),
        (Options, lambda one: setattr(one, "steps", 100)),
    ],
    ids=["a number", "a key", "one more", "a number of another type", "a field"],
)
@pytest.mark.parametrize("who", ["candidate", "reference"])
def test_input_that_holds_something_else_is_told_of_the_candidate_that_changed_it(make, change, who):
    changing = None

    def call(name):
        def called(x, held):
            if name == changing:
                change(held)
            return 2 * x

        return called

    workload = Workload(lambda seed: (*filled(seed), make()), lambda inputs: torch.empty_like(inputs[0]))
    arms = [bind(name, call(name), {}) for name in ("candidate", "reference")]
    stopwatch = HostDevice().stopwatch(arms, workload, timer="auto", cache="hot")
    stopwatch.round(RoundSeeds(1, 1, ()), ORDER)
    changing = who
    told = pytest.raises(TimingError, match="several was changed in timed calls of the candidate")
    with contextlib.nullcontext() if who == "reference" else told:
        stopwatch.round(RoundSeeds(1, 1, ()), ORDER)


def stopwatch_that_writes_in_place(call):
    workload = Workload(filled, lambda inputs: torch.full_like(inputs[0], torch.nan), mutates=(0,))
    return stopwatch_of(call, lambda x: x.mul_(2), workload)


def test_class_of_an_input_that_calls_change_in_place_is_looked_at_too():
    racing = False

    def candidate(x):
        if racing:
            x.__class__ = Sleepy
        return x.mul_(2)

    stopwatch = stopwatch_that_writes_in_place(candidate)
    racing = True
    with pytest.raises(TimingError, match="another class"):
        stopwatch.round(RoundSeeds(1, 1, ()), ORDER)


def test_every_set_of_inputs_is_looked_at_not_only_the_first():
    """Calls that write in place have a set each; the first is drawn, and the others are made of it."""
    drawn, changed, racing = set(), [], False

    def candidate(x):
        if racing and x.data_ptr() not in drawn and not changed:
            changed.append(x)
            x.__class__ = Sleepy
        return x.mul_(2)

    def draw(seed):
        inputs = filled(seed)
        drawn.add(inputs[0].data_ptr())
        return inputs

    workload = Workload(draw, lambda inputs: torch.full_like(inputs[0], torch.nan), mutates=(0,))
    stopwatch = stopwatch_of(candidate, lambda x: x.mul_(2), workload)
    racing = True
    with pytest.raises(TimingError, match="another class"):
        stopwatch.round(RoundSeeds(1, 1, ()), ORDER)
    assert changed


def test_input_that_calls_change_in_place_may_get_other_memory():
    def candidate(x):
        x.data = 2 * x
        return x

    assert stopwatch_that_writes_in_place(candidate).round(RoundSeeds(1, 1, ()), ORDER).seconds.shape == (2, 4)


def test_output_of_the_reference_is_looked_at_too():
    outputs, racing = [], False

    def reference(x, *, out):
        outputs.append(out)
        return torch.mul(x, 2, out=out)

    def candidate(x):
        if racing and outputs:
            outputs[-1].__class__ = Sleepy
        return 2 * x

    stopwatch = stopwatch_of(candidate, reference)
    racing = True
    with pytest.raises(TimingError, match="an output was given another class"):
        stopwatch.round(RoundSeeds(1, 1, ()), np.repeat([1, 0, 1], [2, 4, 2]))


def test_input_that_is_put_back_within_the_call_is_left_alone():
    def restores(x):
        x *= 0.5
        answer = 4 * x
        x *= 2
        return answer

    assert stopwatch_of(restores).round(RoundSeeds(1, 1, (100, 101, 102)), ORDER).probe is not None


def test_counts_that_times_are_divided_by_cannot_be_changed_from_within_a_call():
    watches = []

    def candidate(x):
        frame = sys._getframe(1)
        while frame is not None:
            watch = frame.f_locals.get("self")
            if isinstance(watch, WallStopwatch) and frame.f_code.co_name == "round":
                watches.append(watch)
                if hasattr(watch, "_inner"):
                    watch._inner[0] = 10**9
                watch._counts = (10**9, 1)
                with pytest.raises(AttributeError):
                    watch._row = None
            frame = frame.f_back
        return 2 * x

    timed = stopwatch_of(candidate).round(RoundSeeds(1, 1), ORDER).seconds
    assert watches
    assert timed[0].min() > 1e-8


def test_slow_kernels_are_called_once_more_where_the_arms_change_and_not_for_each_sample():
    calls = []

    def slow(x):
        calls.append(x)
        time.sleep(3e-3)
        return 2 * x

    stopwatch = stopwatch_of(slow)
    calls.clear()
    stopwatch.round(RoundSeeds(1, 1), np.array([0, 0, 1, 1]))
    assert len(calls) == 3


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc], ids=str)
def test_sparse_inputs_take_new_values_with_another_number_of_elements(layout):
    def draw(seed):
        g = torch.Generator().manual_seed(seed)
        return torch.randn(8, 8, generator=g).relu().to_sparse(layout=layout), torch.randn(8, 8, generator=g)

    workload = Workload(draw, lambda inputs: torch.full((8, 8), torch.nan))
    product = torch.matmul
    stopwatch = stopwatch_of(product, product, workload)
    for seed, answer in stopwatch.round(RoundSeeds(1, 2, (3, 4, 5)), np.repeat([0, 1], 2)).probe.answers:
        assert torch.equal(answer, product(*draw(seed)))
