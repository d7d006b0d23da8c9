"""Beside a reference in TF32: one wrong weight is found, honest arithmetic is not. TF32 is emulated, on a CPU."""

from __future__ import annotations

import contextlib
import functools
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.slices import Envelope
from pytest_kgate.bench.correctness.comparison.slices import SliceErrors
from pytest_kgate.bench.correctness.comparison.slices import allowed_times
from pytest_kgate.bench.correctness.comparison.slices import judged_axes
from pytest_kgate.bench.correctness.exact import tf32_yardstick
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.rounding.tf32 import OPERANDS
from pytest_kgate.problems.rounding.tf32 import Operands
from pytest_kgate.problems.rounding.tf32 import cut_off
from pytest_kgate.problems.rounding.tf32 import rounded_to_tf32
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS, CHANNELS, CLASSES = 8, 12, 100
CONVOLUTIONS = {name: places for name, places in OPERANDS.items() if "conv" in name}


@pytest.fixture(autouse=True)
def tf32_on_the_host(monkeypatch):
    """As on a GPU: convolutions are in TF32 where the switch says so, which the yardstick turns off."""
    monkeypatch.setattr(tf32_yardstick, "tf32_switches", lambda device, dtype: {"convolutions": "it"})
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)


def in_tf32():
    on = torch.backends.cudnn.allow_tf32
    return Operands(rounded_to_tf32, CONVOLUTIONS) if on else contextlib.nullcontext()


def weights():
    g = torch.Generator().manual_seed(3)
    shapes = [(CHANNELS, 3 if layer == 0 else CHANNELS, 3, 3) for layer in range(LAYERS)]
    found = [torch.randn(shape, generator=g) / math.sqrt(math.prod(shape[1:])) for shape in shapes]
    return [*found, torch.randn(CLASSES, CHANNELS, generator=g) / math.sqrt(CHANNELS)]


def net(x, *, own=None, activation=F.relu, folded=False):
    *kernels, last = weights() if own is None else own
    for number, kernel in enumerate(kernels):
        kernel = kernel.to(x.dtype)
        made = F.conv2d(x, kernel, padding=1)
        variance, mean = torch.var_mean(made, (0, 2, 3), correction=0)
        scale = (variance + 1e-5).rsqrt()
        if folded:
            made = F.conv2d(x, kernel * scale.reshape(-1, 1, 1, 1), padding=1) - (mean * scale).reshape(-1, 1, 1)
        else:
            made = (made - mean.reshape(-1, 1, 1)) * scale.reshape(-1, 1, 1)
        x = activation(made) if number == 0 else F.relu(made)
    return F.linear(x.mean((2, 3)), last.to(x.dtype))


def reference(x):
    with in_tf32():
        return net(x)


def problem(**changed):
    return Problem(
        name="a net",
        **{
            "inputs": lambda g: (torch.rand(12, 3, 8, 8, generator=g),),
            "hard_inputs": lambda g: (8 * torch.randn(12, 3, 8, 8, generator=g),),
            "reference": reference,
            "exact": lambda x: net(x.double()),
            **changed,
        },
    )


def outcome(candidate, gate=None, **changed):
    own = problem(**changed)
    arms = bind("candidate", candidate, {}), bind("reference", own.reference, {})
    return check(HostDevice(), own, *arms, gate, 42)


def one_wrong_weight(x):
    own = weights()
    own[-1][CLASSES // 2, CHANNELS // 2] += 0.012
    with in_tf32():
        return net(x, own=own)


@contextlib.contextmanager
def in_full():
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = True


def changing(change, *, places=OPERANDS, **net_changes):
    def candidate(x):
        with in_full(), Operands(change, places):
            return net(x, **net_changes)

    return candidate


HONEST = {
    "in float32": changing(lambda values: values),
    "as the reference": reference,
    "cut off": changing(cut_off),
    "convolutions cut off": changing(cut_off, places=CONVOLUTIONS),
    "all products rounded": changing(rounded_to_tf32),
    "norm in the weights, rounded": changing(rounded_to_tf32, folded=True),
    "norm in the weights, cut off": changing(cut_off, folded=True),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_arithmetic_is_right(name):
    found = outcome(HONEST[name])
    assert found.verdict is Verdict.PASS, found.reason
    assert max(draw.worst_slice.excess for draw in found.draws) < 0.6


def test_one_wrong_weight_in_a_deep_net_is_found():
    found = outcome(one_wrong_weight)
    assert found.failed == "slices"
    assert found.reason.startswith(f"at index {CLASSES // 2} of axis 1 the rms error is ")
    assert "times what TF32 comes to there at its coarsest, allowed is 4.5 times" in found.reason
    assert found.to_dict()["draws"][0]["worst_slice"]["index"] == CLASSES // 2


def test_the_same_passes_the_other_four_checks(monkeypatch):
    monkeypatch.setattr(tf32_yardstick, "tf32_switches", lambda device, dtype: {})
    found = outcome(one_wrong_weight)
    assert found.verdict is Verdict.PASS
    assert all("worst_slice" not in draw for draw in found.to_dict()["draws"])


def test_a_net_that_jumps_is_left_out():
    rounded = outcome(one_wrong_weight, reference=lambda x: reference((x * 2**20).round() / 2**20))
    assert rounded.verdict is Verdict.PASS
    assert rounded.draws[0].worst_slice is None


def test_a_reference_without_tf32_is_asked_once_and_no_more():
    calls = []

    def plain(x):
        calls.append(x)
        return net(x)

    found = outcome(net, reference=plain)
    assert found.verdict is Verdict.PASS
    assert all(draw.worst_slice is None for draw in found.draws)
    # For what answers look like, a draw each, one on values that are written anew, and one without TF32.
    assert len(calls) == 1 + len(found.draws) + 1 + 1


@pytest.mark.parametrize("gate", [ErrorGate(1.0, 0.0, 50.0), ErrorGate(1.0, 0.0, math.inf)])
def test_a_test_that_says_how_coarse_it_may_be_is_not_asked(gate):
    assert outcome(one_wrong_weight, gate).verdict is Verdict.PASS


def test_a_tolerance_alone_leaves_the_check_to_the_usual_factors():
    assert outcome(one_wrong_weight, ErrorGate(1.0)).failed == "slices"


def test_a_reference_that_raises_where_it_is_told_otherwise_is_left_out():
    def brittle(x):
        assert torch.backends.cudnn.allow_tf32
        return reference(x)

    assert outcome(one_wrong_weight, reference=brittle).verdict is Verdict.PASS


def test_one_output_of_several_is_named():
    def both(function):
        return lambda x: (function(x), x.sum((1, 2, 3)) > 0)

    found = outcome(both(one_wrong_weight), reference=both(reference), exact=both(lambda x: net(x.double())))
    assert found.draws[0].worst_slice is None  # of sums of products that are compared: a sign jumps
    found = outcome(
        lambda x: (one_wrong_weight(x), 2 * x),
        reference=lambda x: (reference(x), 2 * x),
        exact=lambda x: (net(x.double()), 2 * x.double()),
    )
    assert found.failed == "slices"
    assert found.reason.startswith(f"output 0: at index {CLASSES // 2} of axis 1")


def positive(g, length=256):
    return torch.rand(64, length, generator=g), torch.rand(length, 48, generator=g)


def test_cut_off_terms_of_one_sign_are_honest_beside_rounded_ones():
    """Each is too small by a bit, so that their sum is off by 20 times what rounded ones leave."""

    def rounded(left, right):
        on = torch.backends.cudnn.allow_tf32
        with Operands(rounded_to_tf32) if on else contextlib.nullcontext():
            return left @ right

    ask = functools.partial(
        outcome,
        inputs=positive,
        hard_inputs=positive,
        reference=rounded,
        exact=lambda left, right: left.double() @ right.double(),
    )
    honest = ask(lambda left, right: cut_off(left) @ cut_off(right))
    assert honest.verdict is Verdict.PASS, honest.reason
    assert honest.draws[0].candidate_rms_error > 8 * honest.draws[0].reference_rms_error
    assert honest.draws[0].worst_slice.times == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("function", "unfit"),
    [
        (lambda x: F.relu(F.linear(x, x)), ""),
        (lambda x: F.max_pool2d(F.conv2d(x[None, None], x[None, None, :3, :3]), 2), ""),
        (lambda x: F.batch_norm(x @ x, None, None, training=True), ""),
        (lambda x: torch.softmax(x @ x, -1), ""),
        (lambda x: (x @ x).topk(2).values, "topk"),
        (lambda x: (x @ x) * (x > 0), "gt"),
        (lambda x: torch.floor(x @ x), "floor"),
        (lambda x: torch.cdist(x, x), "_cdist_forward"),
        (lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]), None),
        (lambda x: torch.linalg.inv(x @ x), "linalg_inv_ex"),
        (lambda x: x.cfloat() @ x.cfloat(), "mm"),
    ],
)
def test_operators_that_tf32_may_reach_otherwise_are_told(function, unfit):
    x = torch.randn(12, 12, generator=torch.Generator().manual_seed(1)) + 12 * torch.eye(12)
    with Operands(cut_off) as operands:
        function(x)
    assert operands.unfit == unfit if unfit is not None else operands.unfit or operands.products == 2


@pytest.mark.parametrize("inference", [False, True])
def test_products_are_cut_off_in_inference_mode_too(inference):
    x = torch.randn(12, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(inference), Operands(cut_off) as operands:
        product = F.linear(x, x)
    assert operands.products == 1
    assert torch.equal(product, F.linear(cut_off(x), cut_off(x)))


def slice_errors(errors):
    parts = ((slab, errors[slab.index].abs()) for slab in slabs(errors.shape))
    return SliceErrors.of(parts, errors.shape, errors.device)


@pytest.mark.parametrize("slices", [2, 3, 10, 100, 10_000])
@pytest.mark.parametrize("alike", [True, False])
def test_the_worst_of_many_slices_is_not_accused(slices, alike):
    """All elements of a slice are off by one random number or by one each, in the envelope's runs and the answer."""
    g = torch.Generator().manual_seed(slices)
    beyond = 0
    for _ in range(200):
        off = [torch.randn(slices, 1 if alike else 8, generator=g).double().expand(slices, 8) for _ in range(3)]
        reference, cut, answer = (slice_errors(one) for one in off)
        beyond += Envelope.of([reference, cut]).worst(answer).excess > 1
    assert beyond <= 2  # 1 % of 200


def test_one_large_number_is_no_slice_of_its_own():
    """Its error is that of all others together, and by chance much less in the runs of the envelope."""
    g = torch.Generator().manual_seed(1)
    size = torch.ones(40, 16).double()
    size[3, 4] = 1e4
    beyond = 0
    for _ in range(200):
        reference, cut, answer = (slice_errors(torch.randn(40, 16, generator=g).double() * size) for _ in range(3))
        beyond += Envelope.of([reference, cut]).worst(answer).excess > 1
    assert beyond == 0


def test_slices_of_few_elements_are_not_compared():
    assert judged_axes((7,)) == judged_axes((4, 7)) == judged_axes(()) == []
    assert judged_axes((2, 1000)) == [0]
    assert judged_axes((10, 1000)) == [0, 1]


def test_more_slices_and_an_answer_that_is_coarser_all_over_may_be_off_by_more():
    assert allowed_times(10) == allowed_times(1000) == 4.5
    assert 4.5 < allowed_times(10_000) < 5.5
    assert 4.5 < allowed_times(2) < 6
    assert allowed_times(10, median=2.0) == 9.0
    assert allowed_times(10, median=100.0) == 11.25
