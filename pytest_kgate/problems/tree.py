"""Copies of a problem's inputs: tensors in tuples, lists and dicts, with numbers, strings and None among them.

A copy has the strides of what it is a copy of, also where the tensor has gaps or overlaps itself, as one has that was
sliced or expanded: a kernel may choose its way by them. PyTorch's `clone` makes such a tensor dense.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import TypeVar

import torch
from torch import Tensor

Tree = TypeVar("Tree")

_ALIGNMENT_BYTES = 512
"""What PyTorch's allocator on a GPU gives new memory, and more than a kernel asks for."""


def copy(tree: Tree, place: Callable[[Tensor], Tensor] | None = None) -> Tree:
    """The same tree with each tensor copied; what is no tensor stays as it is.

    `place` makes the memory: for a tensor, another of its shape, strides and dtype, whose values are then written. By
    default it is new and on the tensor's device. Sparse and empty tensors are cloned.
    """
    made = place or room_for
    copied: Tree = mapped(tree, lambda tensor: _copied(tensor, made))
    return copied


def write(tree: Any, values: Any) -> None:
    """Write the values of one tree's tensors to those of another, which must be built like it."""
    with torch.no_grad():
        for tensor, value in zip(tensors(tree), tensors(values), strict=True):
            if has_span(tensor) and tensor.stride() == value.stride():
                write_span(tensor, value)
            else:
                tensor.copy_(value)


def write_span(tensor: Tensor, value: Tensor) -> None:
    """Write all memory from the first to the last element of `value` to that of `tensor`, which has its strides.

    On the host by this thread alone. PyTorch copies with its OpenMP workers, which spin for milliseconds afterwards and
    take cores from whatever runs next: a kernel with threads of its own was up to six times as slow on values that were
    written so (4.3 ms instead of 0.7, two cores), and looked like one that remembers answers.
    """
    plain = (tensor.dtype, tensor.is_conj(), tensor.is_neg()) == (value.dtype, value.is_conj(), value.is_neg())
    target, source = storage_span(tensor), storage_span(value)
    if plain and target.device.type == source.device.type == "cpu":
        ctypes.memmove(target.data_ptr(), source.data_ptr(), source.numel() * source.element_size())
    else:
        target.copy_(source)


def tensors(tree: Any) -> Iterator[Tensor]:
    """Those of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for one in tree.values() if isinstance(tree, dict) else tree:
            yield from tensors(one)


def room_for(tensor: Tensor, device: str | torch.device | None = None) -> Tensor:
    """New memory for a copy, with the tensor's strides and its place within an aligned block; nothing is written."""
    lead = tensor.storage_offset() % (_ALIGNMENT_BYTES // tensor.element_size())
    size = lead + storage_span(tensor).numel()
    flat = torch.empty(size, dtype=tensor.dtype, device=tensor.device if device is None else device)
    return flat.as_strided(tensor.shape, tensor.stride(), lead)


def storage_span(tensor: Tensor) -> Tensor:
    """All memory from the first to the last element, as a view of one dimension; the tensor may overlap itself."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return torch.as_strided(tensor, (extent,), (1,), tensor.storage_offset())


def outside(tree: Any, device: torch.device) -> Any:
    """The tree with None in place of each tensor on this device: the numbers, and the tensors elsewhere, remain."""
    return mapped(tree, lambda tensor: None if tensor.device == device else tensor)


def with_outside(tree: Any, kept: Any, device: torch.device) -> Any:
    """The tree's tensors on this device, with all else as `outside` has kept it of a tree that is built alike."""
    if isinstance(tree, Tensor) and tree.device == device:
        return tree
    if isinstance(tree, dict):
        return {key: with_outside(one, kept[key], device) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)):
        changed = [with_outside(one, its, device) for one, its in zip(tree, kept, strict=True)]
        return type(tree)(*changed) if hasattr(tree, "_fields") else type(tree)(changed)
    return kept


def mapped(tree: Any, change: Callable[[Tensor], Tensor | None]) -> Any:
    """The same tree with each tensor changed; what is no tensor stays as it is."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: mapped(one, change) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)):
        changed = [mapped(one, change) for one in tree]
        return type(tree)(*changed) if hasattr(tree, "_fields") else type(tree)(changed)  # a named tuple has fields
    return tree


def _copied(tensor: Tensor, place: Callable[[Tensor], Tensor]) -> Tensor:
    if not has_span(tensor):
        return tensor.clone()
    with torch.no_grad():
        found = place(tensor)
        storage_span(found).copy_(storage_span(tensor))
    return found.requires_grad_(tensor.requires_grad)


def has_span(tensor: Tensor) -> bool:
    """Whether there is memory of which strides tell: not where the tensor is sparse or empty."""
    return tensor.layout is torch.strided and tensor.numel() > 0
