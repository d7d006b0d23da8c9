"""Fields of a problem that make no sense: refused when it is made, or once its outputs are known."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate import UsageError
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.comparison.outcome import Correctness
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice

pytestmark = pytest.mark.usefixtures("one_thread")

FORM = "Write atol, (atol, rtol) or (atol, rtol, factor): finite numbers, 0 or more, and a factor above 0."
POSITIONS = "It takes a tuple of positions of the inputs, from 0 and each once: (0,) is the first."
AMOUNT = "It takes a finite number, 0 or more, or None."
SEED = "It takes a whole number, 0 or more, of at most 128 bits, or None."


def doubled(**fields):
    def draw(generator):
        return (torch.randn(8, 16, generator=generator),)

    usual = {"name": "double", "inputs": draw, "reference": twice, "exact": lambda x: x.double() * 2}
    return Problem(**{**usual, **fields})


def twice(x):
    return x * 2


def checked(candidate, problem) -> Correctness:
    arms = (bind(role, one, problem.params) for role, one in (("candidate", candidate), ("r", problem.reference)))
    return check(HostDevice(), problem, *arms, None, 42)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (math.inf, "inf"),
        (math.nan, "nan"),
        (-1.0, "-1.0"),
        ("a", "'a'"),
        (None, "None"),
        (True, "True"),
        ([1e-3, 1e-3], "[0.001, 0.001]"),
        ((), "()"),
        ((1e-3, math.inf), "(0.001, inf)"),
        ((1e-3, 0.0, 0.0), "(0.001, 0.0, 0.0)"),
        ((1, 1, 1, 1), "(1, 1, 1, 1)"),
        (10**400, f"1{29 * '0'}...{30 * '0'}"),
        pytest.param(10**5000, "a value of type int", id="too long to be written"),
    ],
)
def test_tolerance_that_is_none_is_refused(given, shown):
    with pytest.raises(UsageError) as error:
        doubled(tolerance={"output": given})
    assert str(error.value) == f"Problem(tolerance={{'output': ...}}) cannot be {shown}.\n{FORM}"


@pytest.mark.parametrize("given", [1e-3, (1e-3, 1e-3), None])
def test_tolerance_of_no_output_is_told_how_one_for_all_is_written(given):
    with pytest.raises(UsageError) as error:
        doubled(tolerance=given)
    assert error.value.what == f"Problem(tolerance={given}) does not say of which output."
    assert '{"output": 1e-3}' in error.value.todo
    assert "@pytest.mark.allclose(1e-3)" in error.value.todo


def test_misspelt_output_is_named_once_the_outputs_are_known():
    with pytest.raises(UsageError) as error:
        checked(twice, doubled(tolerance={"ouput": 1e-3}))
    assert error.value.what == (
        "Problem(tolerance=...) names 'ouput', which is no output and no dtype. Did you mean 'output'?"
    )
    assert error.value.todo == "Name one of its outputs, 'output' (float32), or a dtype, such as 'float16'."


@pytest.mark.parametrize("key", ["output", "float32", "torch.float32", torch.float32])
def test_tolerance_holds_by_the_output_or_its_dtype_and_says_that_it_is_the_problems(key):
    found = checked(lambda x: x * 2 + 1, doubled(tolerance={key: (Fraction(1, 2), np.float32(0), math.inf)}))
    assert (found.failed, found.limits.atol, found.limits.rtol, found.limits.factor) == ("tolerance", 0.5, 0, math.inf)
    assert found.to_dict()["problem_tolerance"] is True


def test_tolerance_of_another_dtype_leaves_the_references_own_error():
    found = checked(lambda x: x * 2 + 1, doubled(tolerance={"float16": 1e-3}))
    assert found.failed == "tolerance"
    assert "problem_tolerance" not in found.to_dict()


def test_dtype_that_is_named_twice_is_refused():
    with pytest.raises(UsageError, match="names one dtype twice"):
        doubled(tolerance={"float32": 1e-3, torch.float32: 1e-2})


@pytest.mark.parametrize(
    ("field", "given", "todo"),
    [
        ("name", 7, "It takes a string: say the operator, the shape and the dtype."),
        ("name", None, "It takes a string: say the operator, the shape and the dtype."),
        ("inputs", None, "It takes a function."),
        ("exact", 3, "It takes a function."),
        ("hard_inputs", 3, "It takes a function, or None."),
        ("equal", 3, "It takes a function, or None."),
        ("reference", None, "It takes a function, or a dict of at least one by its name."),
        ("reference", {}, "It takes a function, or a dict of at least one by its name."),
        ("reference", {1: len}, "It takes a function, or a dict of at least one by its name."),
        ("mutants", {"late": 3}, "It takes a dict of functions by what is wrong with them."),
        ("params", 3, 'It takes a dict of constants by name, such as {"eps": 1e-5}.'),
        ("params", {3: 3}, 'It takes a dict of constants by name, such as {"eps": 1e-5}.'),
        ("mutates", 0, POSITIONS),
        ("mutates", (-1,), POSITIONS),
        ("mutates", (0, 0), POSITIONS),
        ("mutates", (True,), POSITIONS),
        ("mutates", "x", POSITIONS),
        ("rows", "a", POSITIONS),
        ("seed", "a", SEED),
        ("seed", -1, SEED),
        ("seed", 1.5, SEED),
        ("seed", 2**128, SEED),
        ("flops", "a", AMOUNT),
        ("flops", -1, AMOUNT),
        ("bytes", math.nan, AMOUNT),
        ("dtype", 7, 'It takes the name of the inputs\' element type, such as "float16", or None.'),
        ("shape", (1, 2), "It takes a pytest_kgate.Shape, of attention, or None."),
        ("small", 3, "It takes another Problem, or None."),
    ],
)
def test_field_of_a_wrong_type_is_refused(field, given, todo):
    with pytest.raises(UsageError) as error:
        doubled(**{field: given})
    assert re.sub("<.*>", "<built-in function len>", error.value.what) == f"Problem({field}=...) cannot be {given!r}."
    assert error.value.todo == todo


def test_what_may_be_written_in_several_types_is_kept_in_plain_ones():
    made = doubled(mutates=[np.int64(0)], seed=np.int64(7), flops=np.float32(2), dtype=torch.float32, rows=[0])
    assert (made.mutates, made.seed, made.flops, made.dtype, made.rows) == ((0,), 7, 2.0, "float32", (0,))
    assert [type(one) for one in (*made.mutates, made.seed, made.flops)] == [int, int, float]


@pytest.mark.parametrize("number", [np.float32(2), np.int64(2), np.bool_(True)])
def test_scalar_of_numpy_is_told_what_makes_a_number_of_it(number):
    problem = doubled(inputs=lambda g: (torch.randn(3, generator=g), number), reference=torch.mul)
    with pytest.raises(UsageError) as error:
        checked(torch.mul, problem)
    assert error.value.what == f"The problem's input 1 is or holds `numpy.{type(number).__name__}`."
    assert error.value.todo == "Draw a number of Python's own, x.item(), or torch.tensor(x)."


def integers(dtype, most, exact):
    """A problem with an integer output whose values are below `most`, of a vector of 40."""
    return doubled(
        inputs=lambda g: (torch.randint(0, most, (40,), generator=g).to(dtype),), reference=exact, exact=exact
    )


@pytest.mark.parametrize(
    ("dtype", "most", "told"),
    [(torch.int64, 20, True), (torch.int32, 20, True), (torch.int64, 9000, False), (torch.int8, 20, False)],
)
def test_only_what_can_be_indices_is_said_to_be(dtype, most, told):
    problem = integers(dtype, most, lambda x: x * 2)
    worst = checked(lambda x: x * 2 + 1, problem).to_dict()["worst"]
    assert worst.get("may_be_indices", False) is told


def test_exact_integers_in_float64_are_asked_for_in_one_type():
    large = doubled(inputs=lambda g: (torch.randint(2**60, 2**61, (8,), generator=g),), exact=lambda x: x.double() * 2)
    with pytest.raises(UsageError) as error:
        checked(twice, large)
    assert error.value.todo == "Compute `exact` in integers: drop .double(), and return int64."
