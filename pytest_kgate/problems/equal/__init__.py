"""What counts as a right answer where there are several: `Problem(equal=...)`, for ties, any order, and dropout.

Each is a partial of a function of this module, which another process can make again by its name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.equal import masks
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.trees import tree

Equal = Callable[..., Any]
"""`equal(answer, exact, *inputs)`: True or False, a tensor of bools by element, or what is wrong as a string."""

_OWN = "Let the problem return what it takes, or write an `equal` of your own, equal(answer, exact, *inputs)."


def ties(dim: int = -1, argument: int = 0) -> Equal:
    """Accept indices along `dim` into the input `argument` (argmax, topk, sort) that select equal values.

    Indices may lack `dim`, as those of `x.max(-1)`, and be one place in the flattened input, as that of `x.argmax()`.
    Of an answer of values and then indices, such as topk's, the values must be those that the indices select, and equal
    to the exact ones. No place may be chosen twice. NaN equals NaN. Other answers are refused in a sentence.
    """
    return functools.partial(_ties, dim, argument)


def unordered(dim: int = -1, atol: float = 0.0) -> Equal:
    """The right values in any order along `dim`, each off by at most `atol`.

    Each line along `dim` is taken by itself: of pairs (n, 2) and `dim=0`, the first of each pair may be in another
    order than the second. Complex numbers take no `atol`, since they can't be sorted where some are nearly equal.
    """
    return functools.partial(_unordered, dim, atol)


def dropout(p: float, argument: int = 0) -> Equal:
    """Accept dropout with probability `p`: each element is 0, or that of the input `argument` over 1 - p.

    What share is 0 must fit `p`: in the whole, by rows, columns and blocks, and behind elements that are 0. A check's
    calls must differ in what they drop: a fixed seed does not. A right answer is refused once in 100 million. A second
    output of bools says which elements are kept, as that of `torch.native_dropout`.
    """
    if not 0 <= p <= 1:
        raise UsageError(f"equal.dropout({p!r}) is given no probability.", "Give the share that is dropped, 0 to 1.")
    return functools.partial(_dropout, p, argument)


_SHIFTED_CALLS = 2
"""Each call is compared at all shifts with so many before it, and as it is with all."""

_OF_LATER = 2**16
"""Of the calls after a check, of which there are more, so many elements are compared."""


class Calls:
    """The calls of one gate whose answers `equal` judges: what dropout drops must differ from one to the next."""

    def __init__(self, equal: Equal | None) -> None:
        self._asked = equal.args if isinstance(equal, functools.partial) and equal.func is _dropout else None
        self._before: list[tuple[masks.Mask, list[Any]]] = []
        self._checked = False

    def checked(self) -> Calls:
        """For the calls after the check, whose answers must differ from the check's as well.

        A seed among their inputs may come again: calls with the same inputs, but for what is dropped of, may be alike.
        """
        self._checked = True
        return self

    def repeated(self, answer: Any, inputs: tuple[Any, ...]) -> str:
        """What is wrong with a next answer, which is right by itself, beside those before; empty where nothing is."""
        if self._asked is None:
            return ""
        p, argument = self._asked
        mask = _Dropped(p, argument, answer, inputs).mask.start
        mask = mask.first(_OF_LATER, copied=True) if self._checked else mask
        given = _numbers(inputs, argument)
        others = [one for one, its in reversed(self._before) if not (self._checked and given and its == given)]
        self._before.append((mask, given))
        for number, one in enumerate(others):
            one = one.first(mask.told.numel())
            said = masks.repeated(mask, one, p)
            said = said or (masks.shifted(mask, one, p) if number < _SHIFTED_CALLS else "")
            if said:
                return said
        return ""


def _numbers(inputs: tuple[Any, ...], argument: int) -> list[Any]:
    """The other inputs, of each tensor its first elements."""
    position = argument % len(inputs)
    others = [one for number, one in enumerate(inputs) if number != position]
    return [one.reshape(-1)[:8].tolist() if isinstance(one, Tensor) else one for one in tree.leaves(others)]


def _ties(dim: int, argument: int, answer: Any, exact: Any, *inputs: Any) -> str | Tensor:
    source = _source("ties", argument, inputs)
    found, wanted = list(tree.tensors(answer)), list(tree.tensors(exact))
    takes = f"equal.ties(dim={dim}) takes indices into input {argument}, or values and then indices"
    if len(found) not in (1, 2):
        raise UsageError(f"{takes}, and the answer has {len(found)} outputs.", _OWN)
    last = found[-1]
    if last.is_floating_point() or last.is_complex() or last.dtype is torch.bool:
        raise UsageError(f"{takes}, and the last output is of {dtype_name(last.dtype)}.", _OWN)
    laid = _laid_out(source, last.shape, dim)
    if laid is None or found[0].shape != last.shape:
        shapes = " and ".join(str(tuple(one.shape)) for one in found)
        raise UsageError(f"{takes}: of shape {tuple(source.shape)} it can't be asked for {shapes}.", _OWN)
    source, shape, dim = laid
    indices, right = (one[-1].to(torch.int64).reshape(shape) for one in (found, wanted))
    if bool(_outside(right, source.shape[dim]).any()):
        raise UsageError(f"{takes}, and the exact answer's are not within its {source.shape[dim]}.", _OWN)
    best = source.gather(dim, right)
    if len(found) > 1 and not bool(_alike(wanted[0].reshape(shape), best).all()):
        raise UsageError(f"{takes}, and the exact answer's values are not those that its indices select.", _OWN)
    outside = _outside(indices, source.shape[dim])
    if bool(outside.any()):
        return f"{int(outside.sum())} indices are not within 0 to {source.shape[dim] - 1}"
    if indices.shape[dim] > 1 and bool((indices.sort(dim).values.diff(dim=dim) == 0).any()):
        return "one place is chosen twice"
    chosen = source.gather(dim, indices)
    same = _alike(chosen, best)
    if len(found) > 1:
        same = same & _alike(found[0].reshape(shape), chosen)
    return same.reshape(last.shape)


def _laid_out(source: Tensor, shape: Sequence[int], dim: int) -> tuple[Tensor, list[int], int] | None:
    """How indices of this `shape` select along `dim`: the input, the shape with that dimension in it, and its place.

    None where they can't. The only index of a larger input is one into all of it.
    """
    if -source.dim() <= dim < source.dim():
        axis = dim % source.dim()
        before, behind = list(source.shape[:axis]), list(source.shape[axis + 1 :])
        if list(shape) == before + behind:
            return source, [*before, 1, *behind], axis
        if len(shape) == source.dim() and [*shape[:axis], *shape[axis + 1 :]] == before + behind:
            return source, list(shape), axis
    if math.prod(shape) == 1 and len(shape) in (0, source.dim()):
        return source.reshape(-1), [1], 0
    return None


def _outside(indices: Tensor, count: int) -> Tensor:
    return (indices < 0) | (indices >= count)


def _alike(one: Tensor, other: Tensor) -> Tensor:
    """Which elements are equal, or both NaN."""
    return (one == other) | ((one != one) & (other != other))


def _unordered(dim: int, atol: float, answer: Any, exact: Any, *inputs: Any) -> bool:
    found, wanted = (_only("unordered", one) for one in (answer, exact))
    if found.is_complex() or wanted.is_complex():
        if atol:
            raise UsageError(
                "equal.unordered(atol=...) takes no complex numbers: where some are nearly equal they have no order.",
                "Leave atol out where they must be equal, or write an `equal` of your own.",
            )
        found, wanted = (_sorted_complex(one.to(torch.complex128), dim) for one in (found, wanted))
        return bool((found == wanted).all())
    wide = torch.float64 if found.is_floating_point() else torch.int64
    found, wanted = (one.to(wide).sort(dim).values for one in (found, wanted))
    return bool(((found == wanted) | ((found - wanted).abs() <= atol)).all())  # infinities differ by NaN


def _sorted_complex(values: Tensor, dim: int) -> Tensor:
    """By real parts, and among equal ones by imaginary parts."""
    values = values.gather(dim, values.imag.argsort(dim=dim))
    return values.gather(dim, values.real.argsort(dim=dim, stable=True))


def _dropout(p: float, argument: int, answer: Any, exact: Any, *inputs: Any) -> str:
    found = _Dropped(p, argument, answer, inputs)
    return found.wrong or masks.unfit(found.mask, p)


class _Dropped:
    """An answer of dropout beside its input: which elements were dropped, and whether the others are right."""

    def __init__(self, p: float, argument: int, answer: Any, inputs: Sequence[Any]) -> None:
        source, found = _source("dropout", argument, inputs), list(tree.tensors(answer))
        output, *others = found
        takes = f"equal.dropout({p:g}) takes an output like input {argument}, and one of bools that says what is kept"
        if len(others) > 1 or any(one.dtype is not torch.bool for one in others):
            listed = ", ".join(dtype_name(one.dtype) for one in found)
            raise UsageError(f"{takes}, and the answer has {len(found)} outputs: {listed}.", _OWN)
        if any(one.shape != source.shape for one in found) or not (output.is_floating_point() or output.is_complex()):
            raise UsageError(
                f"{takes}, and the answer is {dtype_name(output.dtype)} of shape {tuple(output.shape)}.", _OWN
            )
        wide = torch.complex128 if source.is_complex() else torch.float64
        kept = source.to(wide) / ((1 - p) or 1)  # where all are dropped, one that is kept is found by its share
        written = output.to(wide)
        limits = torch.finfo(output.dtype)
        # The smallest numbers have fewer bits: they are off by parts of the smallest that has all of them.
        allowed = 2 * limits.eps * kept.abs().clamp_min(limits.smallest_normal)
        dropped = written == 0
        near = kept.isfinite() & ((written - kept).abs() <= allowed)
        right = dropped | near | (written == kept.to(output.dtype).to(wide))  # which may be infinite
        told = kept.abs() > allowed  # elsewhere a kept one may be 0, too
        self.mask = masks.Mask(dropped & told, told)
        self.wrong = ""
        if not bool(right.all()):
            self.wrong = f"{int((~right).sum())} elements are neither 0 nor the input's over 1 - p"
        elif others and bool((wrong := (others[0] == dropped) & told).any()):
            self.wrong = f"the output of bools says of {int(wrong.sum())} elements that they are what they are not"


def _source(name: str, argument: int, inputs: Sequence[Any]) -> Tensor:
    """The input that answers are held to."""
    if argument not in range(-len(inputs), len(inputs)) or not isinstance(inputs[argument], Tensor):
        raise UsageError(
            f"equal.{name}(argument={argument}) asks for an input that is no tensor, or none of the {len(inputs)}.",
            "Name the input by its position, from 0.",
        )
    found: Tensor = inputs[argument]
    return found


def _only(name: str, answer: Any) -> Tensor:
    """The only tensor of an answer."""
    found = list(tree.tensors(answer))
    if len(found) != 1:
        raise UsageError(f"equal.{name}() takes an answer of one output, and this has {len(found)}.", _OWN)
    return found[0]
