"""Answers in the arithmetic of their own type: complex numbers, integers of any size, 8-bit numbers, float64."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


def outcome(candidate, problem, gate=None):
    arms = bind("candidate", candidate, problem.params), bind("reference", problem.reference, problem.params)
    return check(HostDevice(), problem, *arms, gate, 42)


def rotate(x, angle):
    return x * torch.polar(torch.ones_like(angle), angle)


ROTATION = Problem(
    name="rotation",
    inputs=lambda g: (torch.randn(8, 64, generator=g, dtype=torch.complex64), torch.rand(64, generator=g) * 6.28),
    reference=rotate,
    exact=lambda x, angle: rotate(x.to(torch.complex128), angle.double()),
)


def conjugated(x, angle):
    return rotate(x, angle).conj().resolve_conj()


def real_part_alone(x, angle):
    return rotate(x, angle).real.to(torch.complex64)


@pytest.mark.parametrize("gate", [None, ErrorGate(1e-4)])
def test_imaginary_part_counts(gate):
    assert outcome(rotate, ROTATION, gate).verdict is Verdict.PASS
    for wrong in (conjugated, real_part_alone):
        result = outcome(wrong, ROTATION, gate)
        assert result.failed == "tolerance"
        assert complex(result.to_dict()["worst"]["exact"]).imag != 0


def test_every_mutant_of_a_complex_operator_dies():
    result = selftest(HostDevice(), ROTATION, bind("reference", rotate, {}), None, 42)
    assert (result.lived, result.honest) == ((), "")
    assert outcome(rotate, ROTATION).weak == ()


def large_integers(dtype, first):
    def draw(g):
        small = torch.randint(0, 1000, (8, 64), generator=g)
        return ((small.view(torch.int64) + first).view(dtype) if dtype is torch.uint64 else small + first,)

    return Problem("identity", draw, reference=lambda x: x.clone(), exact=lambda x: x.clone())


@pytest.mark.parametrize("first", [0, 2**53, 2**62, -(2**63)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64], ids=str)
def test_integer_off_by_one_is_found_however_large(dtype, first):
    problem = large_integers(dtype, first)

    def off_by_one(x):
        answer = x.clone()
        answer.view(torch.int64)[-1, -1] += 1
        return answer

    assert outcome(lambda x: x.clone(), problem).verdict is Verdict.PASS
    assert outcome(off_by_one, problem).candidate_error == 1
    assert outcome(off_by_one, problem, ErrorGate(1.0)).verdict is Verdict.PASS


def test_exact_answer_that_cannot_hold_its_integers_is_refused():
    problem = large_integers(torch.int64, 2**53)
    rounded = Problem("rounded", problem.inputs, problem.reference, exact=lambda x: x.double())
    with pytest.raises(UsageError, match=r"can't tell integers beyond 2\^53 apart"):
        outcome(lambda x: x.clone(), rounded)


@pytest.mark.parametrize(
    "dtype", ["uint16", "uint32", "uint64", "bool", "int8", "float8_e4m3fn", "float8_e5m2", "complex32"]
)
def test_answers_of_any_type_are_judged(dtype):
    element = getattr(torch, dtype)

    def cast(x):
        return x > 0.5 if element is torch.bool else (x * 100).to(element)

    problem = Problem(
        "cast",
        inputs=lambda g: (torch.rand(8, 64, generator=g),),
        reference=cast,
        exact=lambda x: (x * 100).double() if element.is_floating_point or element.is_complex else cast(x),
    )
    assert outcome(cast, problem).verdict is Verdict.PASS
    assert outcome(lambda x: torch.zeros_like(cast(x)), problem).verdict is Verdict.FAIL


def test_float64_in_another_order_of_sums_passes_and_float32_does_not():
    def in_pieces(a, b):
        return sum(x @ y for x, y in zip(a.split(64, 1), b.split(64, 0), strict=True))

    problem = Problem(
        "matmul",
        inputs=lambda g: tuple(torch.randn(s, generator=g, dtype=torch.float64) for s in ((16, 4096), (4096, 16))),
        reference=torch.matmul,
        exact=torch.matmul,
    )
    assert outcome(in_pieces, problem).verdict is Verdict.PASS
    assert outcome(lambda a, b: (a.float() @ b.float()).double(), problem).verdict is Verdict.FAIL


def test_infinity_is_right_where_the_exact_answer_is_too_large_for_its_type():
    problem = Problem(
        "square",
        inputs=lambda g: ((torch.randn(8, 64, generator=g) * 200).half(),),
        reference=lambda x: x * x,
        exact=lambda x: x.double() ** 2,
    )
    assert outcome(lambda x: x * x, problem).verdict is Verdict.PASS
    assert outcome(lambda x: (x * x).clamp(max=65504), problem).verdict is Verdict.FAIL


def relu(**more):
    return Problem(
        **{
            "name": "relu",
            "inputs": lambda g: (torch.randn(64, 64, generator=g),),
            "reference": torch.relu,
            "exact": lambda x: torch.relu(x.double()),
            **more,
        }
    )


def without_last_row(x):
    answer = torch.relu(x)
    answer[-1] = 0
    return answer


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (torch.zeros_like, "float32 explains 2.0 % of it"),
        (lambda x: torch.relu(x) * 1.5, "its rms error is"),
        (without_last_row, "its rms error is"),
        (lambda x: torch.relu(x) / 0, "of its output is NaN or Inf"),
    ],
    ids=["zeros", "scaled", "row missing", "nan"],
)
def test_wrong_reference_is_told_before_the_candidate_is_judged(reference, said):
    for candidate in (reference, torch.relu):
        with pytest.raises(ProblemError, match="The reference is wrong: ") as found:
            outcome(candidate, relu(reference=reference))
        assert said in found.value.what


def test_one_wrong_row_of_a_reference_is_found_among_many():
    many = relu(inputs=lambda g: (torch.randn(4096, 64, generator=g),), reference=without_last_row)
    with pytest.raises(ProblemError, match="one of its rows is off by 1 of its own size"):
        outcome(torch.relu, many)


def test_reference_that_is_coarse_within_the_tolerance_is_believed():
    coarse = relu(reference=lambda x: torch.relu(x) * 1.05)
    assert outcome(torch.relu, coarse, ErrorGate(1.0)).verdict is Verdict.PASS
    with pytest.raises(ProblemError, match="The reference is wrong"):
        outcome(torch.relu, coarse, ErrorGate(1e-3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_honest_coarse_and_cancelling_references_are_not_accused(dtype):
    honest = [
        (lambda x: torch.softmax(x.bfloat16(), -1).to(dtype), lambda x: torch.softmax(x.double(), -1)),
        (lambda x: x - x.mean(-1, keepdim=True), lambda x: x.double() - x.double().mean(-1, keepdim=True)),
        (lambda x: ((x + 1) - x) - 1, lambda x: torch.zeros_like(x).double()),
        (lambda x: x.sum(), lambda x: x.double().sum()),
    ]
    for reference, exact in honest:
        problem = relu(inputs=lambda g: (torch.randn(16, 64, generator=g).to(dtype),), reference=reference, exact=exact)
        assert outcome(reference, problem).verdict is Verdict.PASS


@pytest.mark.parametrize("part", ["reference", "exact"])
def test_part_of_a_problem_that_changes_its_inputs_is_named(part):
    def in_place(x):
        answer = torch.relu(x).double() if part == "exact" else torch.relu(x)
        x.mul_(2)
        return answer

    with pytest.raises(ProblemError, match=f"The problem's {part} changed its input 0"):
        outcome(torch.relu, relu(**{part: in_place}))
