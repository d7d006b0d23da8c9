"""A problem's inputs and answers, copied and compared: tensors in a tree, among them numbers, strings and None.

`structure.py` says what a tree is built of.

A copy has the strides of what it is a copy of, also where the tensor has gaps or overlaps itself, as one has that was
sliced or expanded: a kernel may choose its way by them. PyTorch's `clone` makes such a tensor dense.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees.structure import opened

Tree = TypeVar("Tree")

_ALIGNMENT_BYTES = 512
"""What PyTorch's allocator on a GPU gives new memory, and more than a kernel asks for."""

_COMPRESSED = frozenset({torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc})

_COMPARED_BYTES = 2**24
"""At once: NumPy makes a mask of what it compares."""


def copy(tree: Tree, place: Callable[[Tensor], Tensor] | None = None) -> Tree:
    """A copy of the tree with each tensor copied; what is no tensor stays as it is.

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
                continue
            if tensor.layout in _COMPRESSED and tensor.values().shape != value.values().shape:
                tensor.resize_as_sparse_(value)  # `copy_` refuses another number of elements
            tensor.copy_(value)


def write_span(tensor: Tensor, value: Tensor) -> None:
    """Write all memory from the first to the last element of `value` to that of `tensor`, which has its strides.

    On the host by this thread alone. PyTorch copies with its OpenMP workers, which spin for milliseconds afterwards and
    take cores from whatever runs next: a kernel with threads of its own was up to six times as slow on values that were
    written so (4.3 ms instead of 0.7, two cores), and looked like one that remembers answers.
    """
    plain = (tensor.dtype, tensor.is_conj(), tensor.is_neg()) == (value.dtype, value.is_conj(), value.is_neg())
    if plain and tensor.device.type == value.device.type == "cpu":
        ctypes.memmove(tensor.data_ptr(), value.data_ptr(), extent(value.shape, value.stride()) * value.element_size())
    elif tensor.shape == value.shape and tensor.is_contiguous() and value.is_contiguous():
        tensor.copy_(value)  # all that lies between: without views, in a third of the time
    else:
        storage_span(tensor).copy_(storage_span(value))


def same_bytes(tree: Any, other: Any) -> bool:
    """Whether all tensors of two trees of one build hold the same bytes, NaN, -0 and what lies in gaps included."""
    return all(
        _equal(bytes_of(one), bytes_of(two))
        for one, two in zip(tensors(tree), tensors(other), strict=True)
        if one.numel() or two.numel()
    )


def same(tree: Any, other: Any) -> bool:
    """Whether two trees are built alike, with equal numbers and strings, and tensors alike byte for byte."""
    if isinstance(tree, Tensor):
        built = isinstance(other, Tensor) and all(
            getattr(tree, what) == getattr(other, what) for what in ("dtype", "shape", "layout")
        )
        return built and same_bytes(tree, other)
    if isinstance(tree, (int, float, complex, str)):
        return bool(tree == other)
    node = opened(tree)
    if node is None:
        return type(tree) is type(other)
    its = opened(other)
    if its is None or type(tree) is not type(other) or list(node.keys) != list(its.keys):
        return False
    return all(map(same, node.children, its.children))


def is_same(leaf: Any, tensor: Tensor) -> bool:
    """Whether a leaf is this tensor, or as good as it: the same elements of the same memory, as `x.data` has them.

    A subclass of a tensor is not asked, since it may compute the answer.
    """
    if leaf is tensor:
        return True
    if type(leaf) not in (Tensor, Parameter) or not (has_span(leaf) and has_span(tensor)):
        return False
    one, other = (
        (each.device, each.dtype, each.shape, each.stride(), each.is_conj(), each.is_neg(), each.data_ptr())
        for each in (leaf, tensor)
    )
    return one == other


def _equal(one: Tensor, two: Tensor) -> bool:
    """Whether these bytes are the same; on the host by this thread alone, as in `write_span`."""
    if one.device.type == two.device.type == "cpu":
        parts = zip(one.split(_COMPARED_BYTES), two.split(_COMPARED_BYTES), strict=True)
        return one.shape == two.shape and all(np.array_equal(a.numpy(), b.numpy()) for a, b in parts)
    return torch.equal(one, two)


def bytes_of(tensor: Tensor) -> Tensor:
    """The memory from a tensor's first to its last element as bytes; of a sparse tensor, its values made dense."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense().resolve_conj().resolve_neg().contiguous()
    return storage_span(_turned(tensor, tensor)).view(torch.uint8)


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    return (leaf for leaf in leaves(tree) if isinstance(leaf, Tensor))


def size_bytes(tree: Any) -> int:
    """Bytes from the first to the last element of each of a tree's tensors; of a sparse one, of its values."""
    return sum(
        (extent(one.shape, one.stride()) if has_span(one) else one.numel()) * one.element_size()
        for one in tensors(tree)
    )


def leaves(tree: Any) -> Iterator[Any]:
    """All that a tree holds and that is no node of it, in order."""
    node = opened(tree)
    if node is None:
        yield tree
        return
    for child in node.children:
        if isinstance(child, Tensor):
            yield child  # what most are, some thousand times a gate
        else:
            yield from leaves(child)


def room_for(tensor: Tensor, device: str | torch.device | None = None) -> Tensor:
    """New memory for a copy, with the tensor's strides and its place within an aligned block; nothing is written."""
    lead = tensor.storage_offset() % (_ALIGNMENT_BYTES // tensor.element_size())
    size = lead + storage_span(tensor).numel()
    flat = torch.empty(size, dtype=tensor.dtype, device=tensor.device if device is None else device)
    return flat.as_strided(tensor.shape, tensor.stride(), lead)


def storage_span(tensor: Tensor) -> Tensor:
    """A view, of one dimension, of the memory from the first to the last element; the tensor may overlap itself."""
    return torch.as_strided(tensor, (extent(tensor.shape, tensor.stride()),), (1,), tensor.storage_offset())


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last one, with the gaps between them; 0 where there is none."""
    return 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def outside(tree: Any, device: torch.device) -> Any:
    """The tree with None in place of each tensor on this device: the numbers, and the tensors elsewhere, remain."""
    return mapped(tree, lambda tensor: None if tensor.device == device else tensor)


def with_outside(tree: Any, kept: Any, device: torch.device) -> Any:
    """The tree's tensors on this device, with all else as `outside` has kept it of a tree that is built alike."""
    if isinstance(tree, Tensor) and tree.device == device:
        return tree
    node = opened(tree)
    if node is not None:
        its = opened(kept)
        assert its is not None, "kept of a tree that is built alike"
        return node.build([with_outside(*pair, device) for pair in zip(node.children, its.children, strict=True)])
    return kept


def mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """A copy of the tree with each tensor changed; what is no tensor stays as it is."""
    return structure.mapped(tree, lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf)


def stacked(tree: Tree, count: int) -> tuple[list[Tree], list[Tensor]]:
    """So many copies of a tree, and of each of its tensors the block with all of its copies, (count, elements).

    A copy has its tensor's strides and its place within an aligned block. Nothing is written.
    """
    blocks, columns = [], []
    for tensor in tensors(tree):
        if not has_span(tensor):
            columns.append([tensor.clone() for _ in range(count)])
            continue
        aligned = _ALIGNMENT_BYTES // tensor.element_size()
        lead = tensor.storage_offset() % aligned
        span = storage_span(tensor).numel()
        width = -(-(lead + span) // aligned) * aligned
        block = torch.empty((count, width), dtype=tensor.dtype, device=tensor.device)
        columns.append([block.as_strided(tensor.shape, tensor.stride(), lead + one * width) for one in range(count)])
        blocks.append(block[:, lead : lead + span])
    return [_with_tensors(tree, [column[number] for column in columns]) for number in range(count)], blocks


def _with_tensors(tree: Tree, others: Iterable[Tensor]) -> Tree:
    """The tree with other tensors, in order."""
    left = iter(others)
    made: Tree = mapped(tree, lambda _: next(left))
    return made


def write_stacked(blocks: Iterable[Tensor], values: Any) -> None:
    """Write a tree's values to all copies in the blocks that `stacked` made of one like it."""
    with torch.no_grad():
        for block, value in zip(blocks, filter(has_span, tensors(values)), strict=True):
            if block.device.type == "cpu":
                for row in block:  # by this thread alone, as in `write_span`
                    write_span(row, storage_span(value))
            else:
                block.copy_(storage_span(value).expand_as(block))


def clone(tree: Tree) -> Tree:
    """The tree with each tensor's values in dense memory of their own: of an answer, whose strides say nothing."""
    cloned: Tree = mapped(tree, lambda one: one.detach().clone())
    return cloned


def detached(tree: Tree) -> Tree:
    """The tree without autograd's graph, as of an answer of a module: PyTorch warns where its numbers are read."""
    found: Tree = mapped(tree, Tensor.detach) if any(one.requires_grad for one in tensors(tree)) else tree
    return found


def fill(tree: Any, values: Any) -> None:
    """Copy the values of an answer's tensors to those of another that is built alike, whatever strides they have."""
    for tensor, value in zip(tensors(tree), tensors(values), strict=True):
        tensor.copy_(value)


def _copied(tensor: Tensor, place: Callable[[Tensor], Tensor]) -> Tensor:
    if not has_span(tensor):
        return tensor.clone()
    with torch.no_grad():
        plain = _turned(tensor, tensor)
        found = place(plain)
        storage_span(found).copy_(storage_span(plain))
        found = _turned(found, tensor)
    return found.requires_grad_(tensor.requires_grad)


def _turned(tensor: Tensor, other: Tensor) -> Tensor:
    """The same memory, conjugated and negated where another tensor waits to be: of that tensor itself, as it lies.

    A pending negation leaves the memory alone, and a copy keeps it pending: gaps and strides are then as they were.
    """
    if other.is_conj():
        tensor = tensor.conj()
    return torch._neg_view(tensor) if other.is_neg() else tensor


def has_span(tensor: Tensor) -> bool:
    """Whether there is memory of which strides tell: not where the tensor is sparse or empty."""
    return tensor.layout is torch.strided and tensor.numel() > 0
