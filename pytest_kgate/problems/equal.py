"""What counts as a right answer where there are several: `Problem(equal=...)`, for ties, any order, and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.trees import tree

Equal = Callable[..., Any]
"""`equal(answer, exact, *inputs)`: True or False, a tensor of bools by element, or what is wrong as a string."""

_TAIL = 20.0
"""A sum of squares is refused by chance once in e^20 = 5e8 answers (Laurent and Massart, Adaptive estimation of a
quadratic functional, 2000, lemma 1)."""

_CHUNK = 64
"""Rates of dropout are also compared by rows and by columns, where these have as many elements."""


def ties(dim: int = -1, argument: int = 0) -> Equal:
    """Of indices along `dim` into the input `argument` (argmax, topk, sort): right are all that select equal values.

    Of an answer with values and indices, such as topk's, the values must be those that the indices select, and equal to
    the exact ones. No place may be chosen twice.
    """

    def equal(answer: Any, exact: Any, *inputs: Any) -> bool | Tensor:
        source = inputs[argument]
        found, wanted = list(tree.tensors(answer)), list(tree.tensors(exact))
        indices, right = found[-1].to(torch.int64), wanted[-1].to(torch.int64)
        if bool(((indices < 0) | (indices >= source.shape[dim])).any()):
            return False
        single = indices.dim() < source.dim()
        if single:
            indices, right = indices.unsqueeze(dim), right.unsqueeze(dim)
        elif indices.shape[dim] > 1 and bool((indices.sort(dim).values.diff(dim=dim) == 0).any()):
            return False
        chosen = source.gather(dim, indices)
        same = chosen == source.gather(dim, right)
        if len(found) > 1:
            same = same & (found[0] == chosen)
        right_ones: Tensor = same.squeeze(dim) if single else same
        return right_ones

    return equal


def unordered(dim: int = -1, atol: float = 0.0) -> Equal:
    """The right values in any order along `dim`, each off by at most `atol`."""

    def equal(answer: Tensor, exact: Tensor, *inputs: Any) -> bool:
        wide = torch.float64 if answer.is_floating_point() else torch.int64
        found, wanted = (one.to(wide).sort(dim).values for one in (answer, exact))
        return bool(((found - wanted).abs() <= atol).all())

    return equal


def dropout(p: float, argument: int = 0) -> Equal:
    """Of dropout with probability `p`: each element is 0, or that of the input `argument` over 1 - p.

    What share is 0 must fit `p`, in the whole and from row to row and column to column: a right answer is refused once
    in 100 million.
    """

    def equal(answer: Tensor, exact: Tensor, *inputs: Any) -> str:
        source = inputs[argument].double()
        kept = source / (1 - p)
        spacing = torch.finfo(answer.dtype).eps
        dropped = answer == 0
        right = dropped | ((answer.double() - kept).abs() <= 2 * spacing * kept.abs())
        if not bool(right.all()):
            return f"{int((~right).sum())} elements are neither 0 nor the input's over 1 - p"
        told = source != 0  # elsewhere both are 0
        for what, own, all_own in _groups(dropped & told, told):
            counts, rates = all_own.double(), own.double()
            squares = (rates - counts * p).square() / (counts * p * (1 - p)).clamp_min(1e-300)
            apart = float(squares.sum()) - squares.numel()
            spread = 2 * math.sqrt(_TAIL * squares.numel())
            if not -spread <= apart <= spread + 2 * _TAIL:
                share = float(dropped[told].double().mean())
                return f"the share of zeros {what} does not fit p = {p:g}: in all it is {share:.4g}"
        return ""

    return equal


def _groups(dropped: Tensor, told: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """How many elements were dropped, and how many there are: in all, by rows and by columns."""
    found = [("in the whole", dropped.sum()[None], told.sum()[None])]
    if dropped.dim() > 1:
        flat, all_flat = (one.reshape(-1, one.shape[-1]) for one in (dropped, told))
        for what, dim in (("by rows", 1), ("by columns", 0)):
            if flat.shape[dim] >= _CHUNK and flat.shape[1 - dim] > 1:
                found.append((what, flat.sum(dim), all_flat.sum(dim)))
    return found
