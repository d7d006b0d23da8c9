"""Backward passes: gradients of all inputs against float64 autograd, with the forward pass outside of what is timed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Backward
from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds


def linear_softmax(x, weight, scale=1.0):
    return torch.softmax(x @ weight * scale, -1)


FORWARD = Problem(
    name="softmax of linear",
    inputs=lambda g: (torch.randn(16, 24, generator=g), torch.randn(24, 40, generator=g)),
    reference=linear_softmax,
    exact=lambda x, weight, scale: linear_softmax(x.double(), weight.double(), scale),
    params={"scale": 0.5},
)
BACKWARD = FORWARD.backward()


def by_hand(x, weight, dy, scale):
    y = linear_softmax(x, weight, scale)
    d = (dy - (dy * y).sum(-1, keepdim=True)) * y * scale
    return d @ weight.T, x.T @ d


def outcome(candidate, problem=BACKWARD):
    arms = [
        bind(role, one, problem.params) for role, one in (("candidate", candidate), ("reference", problem.reference))
    ]
    return check(HostDevice(), problem, *arms, None, 42)


@pytest.mark.parametrize("candidate", [by_hand, Backward(linear_softmax)], ids=["kernel", "function"])
def test_right_gradients_pass(candidate):
    found = outcome(candidate)
    assert not found.failed, found.reason
    assert [one["name"] for one in found.outputs] == ["output 0", "output 1"]


def test_gradient_that_leaves_out_a_term_is_wrong():
    def without_sum(x, weight, dy, scale):
        d = dy * linear_softmax(x, weight, scale) * scale
        return d @ weight.T, x.T @ d

    assert outcome(without_sum).failed == "tolerance"


def test_mutants_of_gradients_die():
    found = selftest(HostDevice(), BACKWARD, bind("reference", BACKWARD.reference, BACKWARD.params), None, 42)
    assert not found.honest
    assert not found.lived


def test_integer_inputs_have_no_gradient():
    embedding = Problem(
        name="embedding",
        inputs=lambda g: (torch.randint(0, 9, (50,), generator=g), torch.randn(9, 8, generator=g)),
        reference=F.embedding,
        exact=lambda index, table: F.embedding(index, table.double()),
    ).backward()

    def scatter(index, table, dy):
        return torch.zeros_like(table).index_add_(0, index, dy)

    assert not outcome(scatter, embedding).failed
    assert outcome(lambda i, table, dy: torch.zeros_like(table).index_put_((i,), dy), embedding).failed == "tolerance"


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, y: F.silu(x) + y,
        torch.add,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: (x.reshape(8, 2), y.t()),
        lambda x, y: x.sum() + y.mean(),
    ],
    ids=["residual", "both", "cut", "views", "expanded"],
)
def test_gradients_that_are_those_of_the_output_pass(forward):
    def exact(x, y):
        return forward(x.double(), y.double())

    def inputs(generator):
        return torch.randn(4, 4, generator=generator), torch.randn(4, 4, generator=generator)

    found = outcome(Backward(forward), Problem("handed on", inputs, forward, exact).backward())
    assert not found.failed, found.reason


class WritesToWhatIsSaved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward((x > 0).to(x.dtype))
        return torch.relu(x)

    @staticmethod
    def backward(ctx, dy):
        (mask,) = ctx.saved_tensors
        return mask.mul_(dy)


def test_backward_pass_that_can_be_called_once_alone_is_told_so():
    called = Backward(WritesToWhatIsSaved.apply)
    inputs = torch.randn(8), torch.randn(8)
    called.prepare([inputs], {})
    called(*inputs)
    with pytest.raises(RuntimeError, match="writes to what its forward pass has saved"):
        called(*inputs)


def test_forward_pass_runs_outside_of_timed_calls_and_on_the_values_that_they_find():
    forwards = []

    def counted(x, weight, scale):
        forwards.append(1)
        return linear_softmax(x, weight, scale)

    device = HostDevice()
    arms = [bind(role, Backward(counted), BACKWARD.params) for role in ("candidate", "reference")]
    workload = workload_of(BACKWARD, device, reference_output(device, BACKWARD, arms[1]))
    stopwatch = device.stopwatch(arms, workload, timer="wall", cache="hot")
    before = len(forwards)
    found = stopwatch.round(RoundSeeds(1, 2, (3, 4, 5)), np.repeat(np.arange(2), 2))
    assert len(forwards) - before < 40  # two an interval, one an untimed call, one at the audited turn
    for seed, answer in found.probe.answers:
        x, weight, dy = workload.draw(seed)
        for one, right in zip(answer, by_hand(x, weight, dy, 0.5), strict=True):
            torch.testing.assert_close(one, right)
