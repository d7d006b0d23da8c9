"""Ties: each index of an equal value is right, however an operator gives its indices; what does not fit is told."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.errors import UsageError
from pytest_kgate.problems import equal

SHAPE = (7, 12)


def source():
    return torch.randint(0, 4, SHAPE, generator=torch.Generator().manual_seed(3)).float()


def said(function, answer, x, **arguments):
    """What `ties` says of an answer, with the function's own as the exact one: True, False or a sentence."""
    found = equal.ties(**arguments)(answer, function(x.double()), x)
    return found if isinstance(found, str) else bool(found.all())


def last_place(x, dim, *, keepdim=False):
    return x.shape[dim] - 1 - x.flip(dim).argmax(dim, keepdim=keepdim)


def lowest_place(x, dim, *, keepdim=False):
    return last_place(-x, dim, keepdim=keepdim)


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("keepdim", [True, False])
def test_place_with_and_without_its_dimension(dim, keepdim):
    x = source()
    found = last_place(x, dim, keepdim=keepdim)
    assert said(lambda x: x.argmax(dim, keepdim=keepdim), found, x, dim=dim) is True
    assert said(lambda x: x.argmin(dim, keepdim=keepdim), found, x, dim=dim) is False


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize(("name", "place"), [("max", last_place), ("min", lowest_place)])
def test_value_with_its_place(name, place, dim, keepdim):
    x = source()

    def function(x):
        return getattr(x, name)(dim, keepdim=keepdim)

    values, places = function(x).values, place(x, dim, keepdim=keepdim)
    assert said(function, (values, places), x, dim=dim) is True
    assert said(function, (values * 0 + 7, places), x, dim=dim) is False
    wrong = values.clone()
    wrong.view(-1)[2] += 1
    found = equal.ties(dim)((wrong, places), function(x.double()), x)
    assert found.shape == values.shape
    assert found.view(-1).logical_not().nonzero().flatten().tolist() == [2]


def test_topk_and_sort_put_no_place_twice():
    x = source()
    values, places = torch.topk(x, 5)
    assert said(lambda x: torch.topk(x, 5), (values, places), x) is True
    assert said(lambda x: torch.topk(x, 5), (values, places[:, :1].expand(-1, 5)), x) == "one place is chosen twice"
    backwards, its = x.sort(0, descending=True)
    assert said(lambda x: x.sort(0), (backwards.flip(0), its.flip(0)), x, dim=0) is True
    assert said(lambda x: x.sort(0), (backwards, its), x, dim=0) is False


@pytest.mark.parametrize("keepdim", [True, False])
def test_one_place_in_all_of_an_input(keepdim):
    x = source()
    found = x.numel() - 1 - x.flatten().flip(0).argmax()
    found = found.reshape(1, 1) if keepdim else found
    assert said(lambda x: torch.argmax(x, None, keepdim=keepdim), found, x) is True
    assert said(lambda x: torch.argmin(x, None, keepdim=keepdim), found, x) is False


def test_place_in_a_vector():
    x = torch.tensor([1.0, 3.0, 0.0, 3.0])
    assert said(lambda x: x.argmax(), torch.tensor(3), x) is True
    assert said(lambda x: x.argmax(), torch.tensor(2), x) is False
    assert said(lambda x: x.argmax(), torch.tensor(4), x) == "1 indices are not within 0 to 3"


def test_nan_is_as_right_as_nan():
    x = torch.tensor([[1.0, float("nan"), float("nan")], [1.0, 2.0, 2.0]])
    assert said(lambda x: x.argmax(-1), torch.tensor([2, 2]), x) is True
    assert said(lambda x: x.argmax(-1), torch.tensor([0, 2]), x) is False


@pytest.mark.parametrize(
    ("function", "arguments", "why"),
    [
        (lambda x: (x.amax(-1), x.sum(-1), x.argmax(-1)), {}, "the answer has 3 outputs"),
        (lambda x: (x.argmax(-1), x.amax(-1)), {}, "the last output is of float64"),
        (lambda x: (x.argmax(-1), x.amax(-1).long()), {}, "values are not those that its indices select"),
        (lambda x: x.argmax(0), {}, r"of shape \(7, 12\) it can't be asked for \(12,\)"),
        (lambda x: (x.amax(-1, keepdim=True), x.argmax(-1)), {}, r"asked for \(7, 1\) and \(7,\)"),
        (lambda x: x.argmax(-1) + 12, {}, "are not within its 12"),
        (lambda x: x.argmax(-1), {"argument": 1}, r"asks for an input that is no tensor, or none of the 1"),
    ],
)
def test_what_is_not_understood_is_told_of_the_problem(function, arguments, why):
    x = source()
    with pytest.raises(UsageError, match=why):
        equal.ties(**arguments)(function(x.double()), function(x.double()), x)
