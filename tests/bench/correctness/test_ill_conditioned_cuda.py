"""TF32 on a GPU: a reference whose products are in it is far off where what they have in common is taken off."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.errors import ProblemError
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.gpu


def less_the_mean(x):
    product = x @ x.T
    return product - product.mean(-1, keepdim=True)


def problem(reference):
    return Problem(
        name="products of nearly equal rows",
        inputs=lambda g: (1 + 1e-3 * torch.randn(512, 512, generator=g, device=g.device),),
        reference=reference,
        exact=lambda x: less_the_mean(x.double()),
    )


def outcome(candidate, reference):
    from pytest_kgate.device.cuda.device import CudaDevice

    arms = bind("candidate", candidate, {}), bind("reference", reference, {})
    return check(CudaDevice(0), problem(reference), *arms, None, 42)


def test_reference_in_tf32_is_not_called_wrong_where_tf32_explains_it(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    result = outcome(less_the_mean, less_the_mean)
    assert result.verdict is Verdict.PASS
    assert "to float32 (products to TF32) moves the exact answer by" in result.ill_conditioned


def test_wrong_reference_in_tf32_is_called_wrong(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    with pytest.raises(ProblemError, match="The reference is wrong"):
        outcome(less_the_mean, lambda x: x @ x.T)


def test_reference_in_tf32_is_right_without_it(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    assert outcome(less_the_mean, less_the_mean).ill_conditioned == ""
