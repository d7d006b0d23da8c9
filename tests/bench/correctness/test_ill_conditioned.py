"""References of ill-conditioned problems are far off and right; wrong references are wrong all the same."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate import evaluate
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError
from pytest_kgate.problems.rounding import precision
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


def normalised_softmax(x):
    """What the mean of nearly equal numbers leaves, blown up to a standard deviation of 1."""
    shares = torch.softmax(x, -1)
    return (shares - shares.mean(0)) / shares.std(0)


def in_another_order(x):
    powers = torch.exp(x - x.amax(-1, keepdim=True))
    shares = powers / powers.flip(-1).sum(-1, keepdim=True)
    apart = shares - shares.flip(0).mean(0)
    return apart * (len(x) - 1) ** 0.5 / apart.square().sum(0).sqrt()


def ill_conditioned(spread=2e-6, **more):
    """Shares of 1/128 that differ by `spread`, relatively: float32 has them to 6e-8."""
    parts = {
        "name": "normalised softmax",
        "inputs": lambda g: (torch.randn(64, 128, generator=g) * spread,),
        "reference": normalised_softmax,
        "exact": lambda x: normalised_softmax(x.double()),
    }
    return Problem(**{**parts, **more})


def outcome(candidate, problem):
    arms = bind("candidate", candidate, problem.params), bind("reference", problem.reference, problem.params)
    return check(HostDevice(), problem, *arms, None, 42)


@pytest.mark.parametrize("honest", [normalised_softmax, in_another_order])
def test_reference_that_rounding_alone_puts_so_far_off_is_not_called_wrong(honest):
    result = outcome(honest, ill_conditioned())
    assert result.verdict is Verdict.PASS
    assert result.draws[0].reference_rms_error > 0.02 * result.draws[0].output_rms
    assert result.ill_conditioned.startswith(
        "the problem is ill-conditioned: rounding each step to float32 moves the exact answer by 0."
    )


def without_last_row(x):
    answer = normalised_softmax(x)
    answer[-1] = 0
    return answer


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: torch.zeros_like(x),
        lambda x: normalised_softmax(x) * 1.5,
        lambda x: normalised_softmax(x).roll(1, 0),
        lambda x: normalised_softmax(x.bfloat16()).float(),
        without_last_row,
    ],
    ids=["zeros", "scaled", "a row late", "in bfloat16", "row missing"],
)
def test_wrong_reference_of_an_ill_conditioned_problem_is_called_wrong(wrong):
    with pytest.raises(ProblemError, match="The reference is wrong"):
        outcome(normalised_softmax, ill_conditioned(reference=wrong))


def test_check_that_rounding_leaves_nothing_of_is_weak():
    record = evaluate(normalised_softmax, ill_conditioned(2e-7), None, device="host", seed=1)
    assert record["verdict"] == "WEAK"
    assert (
        "a remembered answer: the problem is ill-conditioned: rounding each step to float32 moves" in record["reason"]
    )
    assert "lower the tolerance" not in record["reason"]
    assert "zeros" in record["correctness"]["weak"]
    assert any(warning.startswith("the problem is ill-conditioned: ") for warning in record["warnings"])


def test_exact_answer_is_computed_once_a_draw_and_once_more_where_the_reference_is_right():
    calls = []

    def exact(x):
        calls.append(1)
        return torch.relu(x.double())

    relu = ill_conditioned(1.0, reference=torch.relu, exact=exact)
    assert outcome(torch.relu, relu).ill_conditioned == ""
    assert len(calls) == 5 + 1  # the one more shows that it repeats


def test_exact_answer_that_can_t_be_rounded_explains_nothing():
    def exact(x):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError("no such operator")
        return normalised_softmax(x.double())

    with pytest.raises(ProblemError, match="The reference is wrong"):
        outcome(normalised_softmax, ill_conditioned(exact=exact))


def test_products_are_rounded_to_tf32_where_that_is_on(monkeypatch):
    def exact(x):
        return x.double() @ x.double().T

    def in_tf32(x):
        coarse = ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
        return coarse @ coarse.T

    def less_the_mean(product):
        return lambda x: product(x) - product(x).mean(-1, keepdim=True)

    nearly_equal = ill_conditioned(
        inputs=lambda g: (1 + 1e-3 * torch.randn(64, 128, generator=g),),
        reference=less_the_mean(in_tf32),
        exact=less_the_mean(exact),
    )
    with pytest.raises(ProblemError, match="The reference is wrong"):
        outcome(nearly_equal.reference, nearly_equal)
    monkeypatch.setattr(precision, "tf32_switches", lambda device, dtype: {"matrix products": "it"})
    result = outcome(nearly_equal.reference, nearly_equal)
    assert result.verdict is Verdict.PASS
    assert "to float32 (products to TF32) moves" in result.ill_conditioned


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (lambda x: (x + 1000).argmax(-1), "Rounding alone decides the answer: the reference is off by "),
        (lambda x: (x + 1000).argmin(-1), "The reference is wrong: it is off by "),
    ],
    ids=["place of the largest", "of the smallest"],
)
def test_places_of_nearly_equal_values_are_not_called_wrong_but_decided_by_rounding(reference, said):
    near = ill_conditioned(
        inputs=lambda g: (torch.rand(512, 512, generator=g),),
        reference=reference,
        exact=lambda x: (x.double() + 1000).argmax(-1),
    )
    with pytest.raises(ProblemError, match=said):
        outcome(reference, near)
