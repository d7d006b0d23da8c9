"""Inputs that calls change, each in memory of its own: they are written back before each call, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees import tree


def with_own_memory(inputs: tuple[Any, ...], mutates: Sequence[int]) -> tuple[Any, ...]:
    """The inputs, those of them copied that calls change and that lie in between the elements of others.

    Keys and values that a cache holds side by side are such inputs: to write back all from the first to the last key
    would change the values. Raises `UsageError` where two share elements: a change of one would be one of the other,
    and not so where each call has copies.
    """
    entwined = set()
    for one, other in _entwined([(place, leaf) for place, each in enumerate(inputs) for leaf in tree.tensors(each)]):
        pair = {one[0], other[0]}
        if pair.isdisjoint(mutates):
            continue
        if _share_elements(one[1], other[1]):
            first, second = sorted(pair)[0], sorted(pair)[-1]
            two = f"inputs {first} and {second} share" if first != second else f"input {first} holds tensors that share"
            raise UsageError(
                f"The problem's {two} memory, and calls change {'one of them' if first != second else 'it'}.",
                "Draw each in memory of its own: x.clone(). Calls that change inputs work on copies, which share none.",
            )
        entwined |= pair & set(mutates)
    return tuple(tree.copy(one) if place in entwined else one for place, one in enumerate(inputs))


def _entwined(
    leaves: list[tuple[int, Tensor]],
) -> Iterator[tuple[tuple[int, Tensor], tuple[int, Tensor]]]:
    """Pairs of tensors of one storage, of which one begins before the other has ended."""
    of_storage: dict[int, list[tuple[int, Tensor]]] = {}
    for place, leaf in leaves:
        if tree.has_span(leaf):
            of_storage.setdefault(leaf.untyped_storage().data_ptr(), []).append((place, leaf))
    for group in of_storage.values():
        group.sort(key=lambda one: one[1].data_ptr())
        for index, one in enumerate(group):
            end = one[1].data_ptr() + tree.extent(one[1].shape, one[1].stride()) * one[1].element_size()
            for other in group[index + 1 :]:
                if other[1].data_ptr() >= end:
                    break
                yield one, other


def _share_elements(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors may have elements in common: not where a period of both keeps them apart.

    Along the dimensions whose strides are multiples of it each repeats itself, and what the others span is a window in
    each period. All that slicing, `unbind` and `chunk` make of one tensor is told apart so.
    """
    return not any(_apart_in_each(period, one, other) for period in sorted({*_strides(one), *_strides(other)}))


def _strides(tensor: Tensor) -> list[int]:
    """In bytes, of the dimensions that have more than one place."""
    size = tensor.element_size()
    return [
        stride * size for extent, stride in zip(tensor.shape, tensor.stride(), strict=True) if extent > 1 and stride
    ]


def _apart_in_each(period: int, one: Tensor, other: Tensor) -> bool:
    window, others = _window(period, one), _window(period, other)
    behind = (other.data_ptr() - one.data_ptr()) % period
    return window <= behind and behind + others <= period


def _window(period: int, tensor: Tensor) -> int:
    """Bytes from the first to the last element of what lies in one period, of which the tensor may have several."""
    size = tensor.element_size()
    inner = [
        (extent, stride) for extent, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride * size % period
    ]
    return size + sum((extent - 1) * stride * size for extent, stride in inner)
