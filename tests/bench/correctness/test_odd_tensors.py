"""Tensors that few operators have: each is judged, or refused with a sentence, and never ends in a traceback."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import demand_repeatable
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.guard_zones import GuardZones


def normal(g):
    return (torch.randn(8, 8, generator=g),)


def outcome(candidate, inputs, reference, exact, **more):
    problem = Problem(name="odd", inputs=inputs, reference=reference, exact=exact, **more)
    demand_repeatable(problem, HostDevice())
    zones = GuardZones(HostDevice())
    arms = [bind(role, one, {}, problem.mutates) for role, one in (("candidate", candidate), ("reference", reference))]
    return check(HostDevice(), zones.problem(problem), zones.arm(arms[0]), arms[1], None, 42)


def dense(a, b):
    return a.to_dense().double() @ b.double()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_inputs_are_taken(layout):
    def draw(g):
        return torch.randn(8, 8, generator=g).relu().to_sparse(layout=layout), torch.randn(8, 8, generator=g)

    assert not outcome(lambda a, b: a.to_dense() @ b, draw, torch.matmul, dense).failed
    assert outcome(lambda a, b: a.to_dense().relu() @ b * 1.1, draw, torch.matmul, dense).failed == "tolerance"


def test_output_without_elements_stands_beside_others():
    def both(x):
        return x * 2, x[:0] * 2

    assert not outcome(lambda x: both(x), normal, both, lambda x: both(x.double())).failed


@pytest.mark.parametrize("shape", [(8, 0), (0, 8), (0,), (8, 0, 3)])
def test_input_without_elements_stands_beside_others_whatever_its_strides(shape):
    def both(x, empty):
        return x + empty.sum()

    def draw(g):
        return *normal(g), torch.randn(shape, generator=g)

    assert not outcome(lambda x, y: both(x, y), draw, both, lambda x, y: both(x.double(), y.double())).failed


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def test_inputs_in_a_named_tuple_are_the_arguments():
    def draw(g):
        return Pair(*normal(g), *normal(g))

    problem = Problem("add", draw, torch.add, lambda a, b: a.double() + b.double())
    arms = [bind(role, torch.add, {}) for role in ("candidate", "reference")]
    like = reference_output(HostDevice(), problem, arms[1])
    assert type(workload_of(problem, HostDevice(), like).draw(1)) is tuple
    assert not check(HostDevice(), GuardZones(HostDevice()).problem(problem), *arms, None, 42, like).failed


def jagged(g):
    return (
        torch.nested.nested_tensor([torch.randn(4, generator=g), torch.randn(3, generator=g)], layout=torch.jagged),
    )


def nested(x):
    return torch.nested.nested_tensor([x[0], x[1, :3]])


def quantised(x):
    return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")
class Marked(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("inputs", "function", "said"),
    [
        (jagged, lambda x: x.to_padded_tensor(0.0), "input 0 is a nested tensor"),
        (lambda g: (quantised(*normal(g)),), lambda x: x.dequantize(), "input 0 is a quantised tensor"),
        (
            lambda g: (normal(g)[0].as_subclass(Marked),),
            torch.relu,
            "input 0 is or holds a Marked, a subclass of Tensor",
        ),
        (normal, nested, "reference returned a sparse, nested or quantised tensor|exact returned a sparse, nested"),
        (normal, quantised, "returned a sparse, nested or quantised tensor"),
        (normal, lambda x: x.to_sparse(), "returned a sparse, nested or quantised tensor"),
    ],
    ids=["jagged in", "quantised in", "subclass in", "nested out", "quantised out", "sparse out"],
)
def test_what_has_no_dense_memory_is_refused_in_a_sentence(inputs, function, said):
    with pytest.raises(UsageError, match=said):
        outcome(function, inputs, function, lambda x: function(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "function", [nested, quantised, lambda x: x.to_sparse()], ids=["nested", "quantised", "sparse"]
)
def test_candidate_that_returns_it_is_told_what_to_return(function):
    with pytest.raises(CandidateError, match=r"Return (a )?dense tensor"):
        outcome(function, normal, lambda x: x * 1, lambda x: x.double())


def test_position_that_no_input_has_is_misuse():
    with pytest.raises(UsageError, match="names an input that there is not"):
        outcome(lambda x: x.mul_(2), normal, lambda x: x.mul_(2), lambda x: x.double() * 2, mutates=(3,))


def test_list_of_tensors_is_changed_in_place():
    def draw(g):
        return ([torch.randn(5, generator=g) for _ in range(3)],)

    assert not outcome(
        lambda several: [one.mul_(2) for one in several],
        draw,
        lambda several: torch._foreach_mul_(several, 2.0),
        lambda several: [one.double() * 2 for one in several],
        mutates=(0,),
    ).failed
