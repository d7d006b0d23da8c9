"""How answers of timed calls are copied while a candidate's process may still write to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_kgate.integrity.isolation.kept_answers import copy_from_anywhere
from pytest_kgate.problems.trees import tree


class Racer(TorchDispatchMode):
    """Sees where a copy begins as its first ten elements have been read, and computes all others ahead of it."""

    def __init__(self, answer: Tensor, right: Tensor) -> None:
        super().__init__()
        self._answer, self._right = answer, right

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.copy_.default:
            begin = args[1].storage_offset()
            others = torch.ones(len(self._right), dtype=torch.bool)
            others[begin : begin + 10] = False
            self._answer[others] = self._right[others]
        return function(*args, **(kwargs or {}))


def copied(answer: Tensor) -> Tensor:
    copy = tree.copy(torch.full_like(answer, -1))
    copy_from_anywhere([copy], [answer])
    return copy


def test_copies_have_the_answers_values_whatever_its_strides():
    flat = torch.arange(60.0)
    gapped = flat.as_strided((4, 5), (12, 2), 3)
    for answer in (flat, flat.view(5, 12).t(), gapped, flat[:1], flat[:0], torch.tensor(7.0)):
        for _ in range(20):
            assert torch.equal(copied(answer), answer)


def test_answer_that_is_computed_ahead_of_its_copy_is_not_always_whole():
    """A candidate that has computed the first half before it says so, and the rest once its answer is being read."""
    whole = []
    for _ in range(60):
        right, answer, copy = torch.arange(1000.0), torch.full((1000,), -1.0), torch.empty(1000)
        answer[:500] = right[:500]
        with Racer(answer, right):
            copy_from_anywhere([copy], [answer])
        whole.append(torch.equal(copy, right))
    assert False in whole
