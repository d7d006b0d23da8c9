"""The exact answer of a published problem is its reference in float64, unless that computes something else."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.problems.published.exact import ExactAnswerOf

pytestmark = pytest.mark.usefixtures("one_thread")


def normalised_softmax(x):
    shares = torch.softmax(x, -1)
    return (shares - shares.mean(0)) / shares.std(0)


@pytest.mark.parametrize(
    ("spread", "wide", "chosen"),
    [
        (1.0, normalised_softmax, "float64"),
        (3e-7, normalised_softmax, "float64"),
        (1.0, lambda x: 1.5 * normalised_softmax(x), "float32 without TF32: in float64 it computes something else"),
        (2e-6, lambda x: 1.5 * normalised_softmax(x), "float32 without TF32: in float64 it computes something else"),
    ],
    ids=["well-conditioned", "ill-conditioned", "another constant", "another constant of an ill-conditioned one"],
)
def test_model_that_rounding_alone_puts_far_off_is_itself_in_float64(spread, wide, chosen):
    exact = ExactAnswerOf(normalised_softmax, lambda device: wide)
    inputs = (torch.randn(64, 128, generator=torch.Generator().manual_seed(3)) * spread,)
    answer = exact(*inputs)
    assert exact.dtype == chosen
    if chosen == "float64":
        apart = (normalised_softmax(*inputs) - answer).square().mean().sqrt()
        assert (float(apart) > 0.1) is (spread < 1)
