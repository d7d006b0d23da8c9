"""The four checks of an answer: each finds what the others let pass, and none accuses an honest one."""

from __future__ import annotations

import math

import pytest
import torch

from pytest_kgate.bench.correctness.comparison.findings import FACTOR_16_BIT
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.statistics.gates import ErrorGate

LOOSE = ErrorGate(10.0)


def drawn(*extents, seed=0):
    return torch.randn(extents, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def found(answer, exact, gate=LOOSE, reference=None):
    reference = exact.to(answer.dtype) if reference is None else reference
    truth = ExactAnswer(exact, reference)
    limits = truth.limits(gate)
    comparison = truth.compare(answer, limits)
    assert truth.accepts(answer, limits) is not bool(comparison.failed)
    return comparison


@pytest.mark.parametrize("extents", [(2, 300, 64), (3, 1000), (5000,), (400, 3), (7, 9, 5, 2), (1,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_rounded_answer_passes_whatever_its_shape(extents, dtype):
    exact = drawn(*extents)
    for gate in (None, LOOSE):
        assert found(exact.to(dtype), exact, gate).failed == ""


@pytest.mark.parametrize(
    ("extents", "rows"),
    [((64, 64, 64), (63, 63)), ((4096, 16), (slice(4092, None),)), ((40, 20000), (39, slice(19950, None)))],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_wrong_row_among_many_is_found_below_any_tolerance(extents, rows, dtype):
    exact = drawn(*extents)
    answer = exact.to(dtype)
    answer[rows] = 0
    result = found(answer, exact)
    assert result.failed in ("rms", "rows")
    assert result.place.index[0] == (rows[0] if isinstance(rows[0], int) else result.place.index[0])


def test_one_wrong_row_is_named():
    exact = drawn(8, 1024, 64)
    answer = exact.half()
    answer[7, 1000] *= 0.99
    result = found(answer, exact)
    assert result.failed == "rows"
    assert result.reason.startswith("row [7, 1000] is off by ")
    assert "0.01 of its own size" in result.reason
    assert result.place.index[:2] == (7, 1000)


def test_coarser_type_is_found_by_the_size_of_its_error():
    exact = drawn(64, 64)
    result = found(exact.bfloat16().half(), exact, ErrorGate(0.1))
    assert result.failed == "rms"
    assert "times the reference's" in result.reason or "times rounding's" in result.reason
    assert f"allowed is {FACTOR_16_BIT:g} times" in result.reason


def test_reference_that_errs_more_allows_more():
    exact = drawn(64, 64)
    answer = exact.bfloat16().half()
    coarse = (exact + 2e-3 * drawn(64, 64, seed=1)).half()
    assert found(answer, exact, LOOSE).failed == "rms"
    assert found(answer, exact, LOOSE, reference=coarse).failed == ""


def test_factor_of_infinity_leaves_the_tolerance_alone_to_decide():
    exact = drawn(64, 64)
    answer = torch.zeros(64, 64)
    assert found(answer, exact, ErrorGate(10.0, factor=math.inf)).failed == ""
    assert found(answer, exact, ErrorGate(0.5, factor=math.inf)).failed == "tolerance"


def test_small_row_may_round_like_the_others():
    exact = drawn(100, 64)
    exact[7] *= 1e-6
    answer = exact.half()
    answer[7] = 0
    assert found(answer, exact).failed == ""


@pytest.mark.parametrize("seed", range(1, 5))
def test_long_sums_that_cancel_are_off_by_as_much_as_others(seed):
    """Of a million, where a running sum comes near zero: its error is that of all that was added up before."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2**20, generator=generator)
    blocks = values.view(1024, 1024)
    before = torch.cat([torch.zeros(1), blocks.sum(1).cumsum(0)[:-1]])
    answer = (blocks.cumsum(1) + before[:, None]).reshape(-1)
    exact = values.double().cumsum(0)
    right = found(answer, exact, reference=values.cumsum(0))
    assert right.failed == ""
    assert right.row_excess < 0.6
    answer[-64:] += 0.1  # of some 1,000
    wrong = found(answer, exact, reference=values.cumsum(0))
    assert wrong.failed in ("rms", "rows")
    assert wrong.row_excess > 5


def test_same_infinity_is_right_and_any_other_wrong():
    exact = drawn(8, 64)
    exact[2, 3] = -math.inf
    right = exact.float()
    assert found(right, exact).failed == ""
    for wrong in (math.inf, math.nan, 0.0):
        answer = right.clone()
        answer[2, 3] = wrong
        result = found(answer, exact, ErrorGate(1e6, rtol=1e6))
        assert result.failed == "tolerance"
        assert result.place.index == (2, 3)
        finite = "the output is finite where the exact answer is -inf"
        assert result.reason == (finite if wrong == 0.0 else "the output holds NaN or Inf")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_what_is_far_too_large_for_the_type_allows_nothing_elsewhere(dtype):
    exact = drawn(8, 64)
    exact[2, 3], exact[4, 5] = 1e100, -1e100
    right = exact.to(dtype)
    assert found(right, exact, None).failed == ""
    zeros = torch.where(right.isinf(), right, 0.0)
    assert found(zeros, exact, None).failed == "tolerance"
    finite = right.nan_to_num(posinf=torch.finfo(dtype).max)
    assert "finite where the exact answer is inf" in found(finite, exact, None).reason
    assert found(finite, exact, None, reference=right.nan_to_num()).failed == ""  # which saturates, too


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_rounding_decides_what_overflows_at_the_edge_of_the_type(dtype):
    largest = torch.finfo(dtype).max
    exact = drawn(8, 64) * largest / 8
    exact[2, 3] = largest * (1 + torch.finfo(dtype).eps)
    overflows = exact.to(dtype)
    assert overflows[2, 3].isinf()
    for answer in (overflows, overflows.clamp(max=largest)):
        assert found(answer, exact, None).failed == ""


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_reference_that_fails_allows_nothing_more(value):
    exact = drawn(8, 64)
    broken = exact.half()
    broken[0] = value
    truth = ExactAnswer(exact, broken)
    assert truth.reference_error == math.inf
    assert truth.limits(None).atol < 0.1
    assert truth.compare(torch.zeros(8, 64).half(), truth.limits(None)).failed == "tolerance"
    assert truth.compare(exact.half(), truth.limits(None)).failed == ""


def test_integers_are_exact_unless_a_tolerance_is_given():
    exact = torch.arange(100).reshape(10, 10).double()
    answer = exact.long()
    assert found(answer, exact, None).failed == ""
    answer[3, 3] += 1
    assert found(answer, exact, None).failed == "tolerance"
    assert found(answer, exact, ErrorGate(1.0)).failed == ""


def test_zeros_are_the_answer_where_they_are():
    exact = torch.zeros(64, 64, dtype=torch.float64)
    assert found(torch.zeros(64, 64), exact, None).failed == ""
    assert found(torch.full((64, 64), 1e-6), exact, None).failed == "tolerance"
    assert found(torch.full((64, 64), 1e-6), exact, LOOSE).failed == "rms"


def in_tf32(values, *, nearest=True):
    """Float32 values with the 10 bits that TF32 has, to the nearest, or cut off as tensor cores do."""
    bits = values.float().view(torch.int32)
    return ((bits + (0x1000 if nearest else 0)) & ~0x1FFF).view(torch.float32)


def product_in_tf32():
    """Operands of float32, their product in TF32, which is what PyTorch's convolutions do, and the exact one."""
    left, right = drawn(96, 200).float(), drawn(200, 80, seed=1).float()
    return left, right, in_tf32(left) @ in_tf32(right), left.double() @ right.double()


@pytest.mark.parametrize("gate", [None, LOOSE], ids=["default tolerance", "loose"])
@pytest.mark.parametrize(
    ("rounded", "said"),
    [
        (lambda product: product.bfloat16().float(), "rounded to bfloat16"),
        (lambda product: product.half().float(), "rounded to 10 bits of mantissa"),
        (in_tf32, "rounded to 10 bits of mantissa"),
    ],
    ids=["bfloat16", "float16", "TF32"],
)
def test_output_in_16_bits_is_found_where_the_reference_computes_in_tf32(rounded, said, gate):
    *_, product, exact = product_in_tf32()
    result = found(rounded(product), exact, gate, reference=product)
    assert result.failed == "bits"
    assert said in result.reason
    assert "the output is float32" in result.reason


@pytest.mark.parametrize(("dtype", "low"), [(torch.complex64, torch.bfloat16), (torch.float64, torch.float32)], ids=str)
def test_coarser_output_is_found_beside_a_reference_that_is_off_by_as_much(dtype, low):
    exact = (drawn(40, 50) + (1j * drawn(40, 50, seed=1) if dtype.is_complex else 0.0)).to(dtype.to_complex())
    exact = exact if dtype.is_complex else exact.real
    reference = (exact * (1 + 2.0 ** (-8 if dtype.is_complex else -24) * drawn(40, 50, seed=2))).to(dtype)
    parts = torch.view_as_real(reference) if dtype.is_complex else reference
    coarse = parts.to(low).to(parts.dtype)
    answer = torch.view_as_complex(coarse) if dtype.is_complex else coarse
    assert found(answer, exact, reference=reference).failed == "bits"
    assert found(reference, exact, reference=reference).failed == ""


def test_honest_arithmetic_beside_tf32_keeps_its_bits():
    left, right, product, exact = product_in_tf32()
    cut_off = in_tf32(left, nearest=False) @ in_tf32(right, nearest=False)
    for answer in (left @ right, cut_off, product):
        assert found(answer, exact, reference=product).failed == ""


@pytest.mark.parametrize(
    "values",
    [
        lambda: drawn(64, 64).bfloat16().double(),  # all that the answer is of: a gather, a maximum, ReLU
        lambda: drawn(64, 64).relu().bfloat16().double(),
        lambda: (drawn(64, 64) * 100).round(),
        lambda: 1 - drawn(64, 64).abs() * 2e-8,  # a sigmoid of large numbers: 0.99999994, where 1 is as good
        lambda: torch.full((64, 64), 1.0 + 2.0**-12, dtype=torch.float64),  # one number, of which 1 in 8,192 is coarse
    ],
    ids=["numbers of bfloat16", "zeros among them", "integers", "saturated", "one number"],
)
def test_answers_that_have_few_bits_by_nature_are_no_fault(values):
    exact = values()
    answer = exact.float().bfloat16().float()
    loose = (exact * (1 + 1e-4 * drawn(64, 64, seed=1))).float()  # so that no other check has a say
    assert found(answer, exact, reference=loose).failed == ""


def test_few_bits_are_no_fault_where_the_reference_has_them_or_the_test_allows_them():
    *_, product, exact = product_in_tf32()
    coarse = product.bfloat16().float()
    assert found(coarse, exact, reference=product.half().float()).failed == ""
    assert found(coarse, exact, ErrorGate(10.0, factor=32.0), reference=product).failed == ""
