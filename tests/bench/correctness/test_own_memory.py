"""Inputs that calls change, and that lie in between others: each call has them in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.bench.correctness.exact.own_memory import with_own_memory
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem


def whole() -> Tensor:
    return torch.arange(2.0 * 6 * 4).reshape(2, 6, 4)


APART: dict[str, Callable[[Tensor], tuple[Any, ...]]] = {
    "side by side": lambda x: x.unbind(1)[:2],
    "halves of rows": lambda x: x.chunk(2, dim=2),
    "every other": lambda x: (x[:, ::2], x[:, 1::2]),
    "of other types": lambda x: (x[..., :2], x.view(torch.int32)[..., 2:]),
    "one number in between": lambda x: (x[..., 0], x[1, 0, 1]),
    "in a list": lambda x: (list(x.unbind(2)), 3, None),
}


@pytest.mark.parametrize("draw", APART.values(), ids=list(APART))
def test_inputs_in_between_others_are_copied_with_their_strides(draw: Callable[[Tensor], tuple[Any, ...]]) -> None:
    inputs = draw(whole())
    found = with_own_memory(inputs, (0,))
    drawn, own = (one[0] if isinstance(one[0], list) else [one[0]] for one in (inputs, found))
    for before, after in zip(drawn, own, strict=True):
        assert torch.equal(before, after)
        assert before.stride() == after.stride()
        assert before.untyped_storage().data_ptr() != after.untyped_storage().data_ptr()
    assert found[1:] == inputs[1:]


@pytest.mark.parametrize(
    "inputs",
    [(whole(), whole()), tuple(whole().unbind(0)), (whole().reshape(-1)[:7], whole()), (torch.ones(0), torch.ones(0))],
)
def test_inputs_of_memory_of_their_own_stay_as_they_are(inputs: tuple[Tensor, ...]) -> None:
    assert all(after is before for after, before in zip(with_own_memory(inputs, (0, 1)), inputs, strict=True))


def test_inputs_that_no_call_changes_may_share_memory() -> None:
    x, y = whole(), whole()
    assert with_own_memory((x, x, x.transpose(1, 2), y), (3,))[0] is x


SHARED: list[Callable[[Tensor], tuple[Any, ...]]] = [
    lambda x: (x, x),
    lambda x: (x, x[0]),
    lambda x: (x, x.transpose(1, 2)),
    lambda x: (x[:, :4], x[:, 3:]),
]


@pytest.mark.parametrize("draw", SHARED)
@pytest.mark.parametrize("mutates", [(0,), (1,), (0, 1)])
def test_elements_in_common_are_refused_where_a_call_changes_one(
    draw: Callable[[Tensor], tuple[Any, ...]], mutates: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match="inputs 0 and 1 share memory"):
        with_own_memory(draw(whole()), mutates)


def test_elements_in_common_within_one_input_are_refused() -> None:
    x = whole()
    with pytest.raises(UsageError, match="input 0 holds tensors that share memory"):
        with_own_memory(({"weight": x, "tied": x},), (0,))


def cache(generator: Generator) -> tuple[Tensor, ...]:
    keys, values = torch.randn(2, 16, 2, 8, generator=generator).unbind(2)
    return keys, values, torch.randn(2, 8, generator=generator)


def append(keys: Tensor, values: Tensor, new: Tensor) -> None:
    keys[:, 3], values[:, 3] = new, new


@pytest.mark.parametrize("mutates", [(0, 1), (0,)])
def test_keys_and_values_side_by_side_are_timed_with_the_values_that_were_drawn(mutates: tuple[int, ...]) -> None:
    def call(keys: Tensor, values: Tensor, new: Tensor) -> None:
        append(keys, values if 1 in mutates else values.clone(), new)

    def exact(keys: Tensor, values: Tensor, new: Tensor) -> Any:
        own = keys.double(), values.double()
        append(*own, new)
        return own[: len(mutates)]

    problem = Problem(name="append", inputs=cache, reference=call, exact=exact, mutates=mutates)
    device = HostDevice()
    arms = [bind(role, call, {}, mutates) for role in ("candidate", "reference")]
    workload = workload_of(problem, device, reference_output(device, problem, arms[1]))
    stopwatch = device.stopwatch(arms, workload, timer="wall", cache="hot")
    assert stopwatch.round(RoundSeeds(1, 2, (3, 4, 5)), np.repeat(np.arange(2), 2)).probe is not None
