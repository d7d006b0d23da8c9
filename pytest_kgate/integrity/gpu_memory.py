"""What a candidate does to PyTorch's memory on a GPU: how much of it stays, and where new memory comes from."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import torch

_MOST = 0.25
"""Share of the GPU's memory that may stay with a candidate. Weights kept in another layout, work space or the pool of a
graph of its own are honest, and a few times the problem; whoever keeps more takes it from the reference, whose
libraries choose slower ways where memory is short, and from the tests that follow."""

_SHARED = (0, 0)
"""The pool of all that belongs to no graph and to no `torch.cuda.MemPool`."""


class Memory:
    """How much was in use when this was made, on one device."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._total = torch.cuda.get_device_properties(index).total_memory
        self._before = held_bytes(torch.cuda.memory_snapshot(), index)

    def left(self) -> str | None:
        """One clause where too much of it has stayed in use since."""
        found = left_behind(self._before, held_bytes(torch.cuda.memory_snapshot(), self._index), self._total)
        if found is None:
            return None
        torch.cuda.empty_cache()  # pools of graphs that are gone would count, until the memory is wanted
        return left_behind(self._before, held_bytes(torch.cuda.memory_snapshot(), self._index), self._total)


def left_behind(before: int, now: int, total: int) -> str | None:
    """One clause where the bytes in use have grown by too large a part of all there are; None where not."""
    if now - before <= _MOST * total:
        return None
    return (
        f"{(now - before) / 2**30:.1f} of the GPU's {total / 2**30:.1f} GiB are still in use, which is more than "
        f"{_MOST:.0%} of them"
    )


def held_bytes(snapshot: Iterable[Mapping[str, Any]], index: int) -> int:
    """Bytes that nobody else can have: of tensors, and all of a private pool, whose free blocks serve it alone."""
    return sum(
        int(segment["allocated_size" if _pool(segment) == _SHARED else "total_size"])
        for segment in snapshot
        if segment["device"] == index
    )


def pool_in_use(index: int) -> tuple[int, int]:
    """From which pool a new tensor gets its memory: (0, 0), unless someone said otherwise and left it so."""
    address = torch.empty(1, device=f"cuda:{index}").data_ptr()
    for segment in torch.cuda.memory_snapshot():
        if segment["address"] <= address < segment["address"] + segment["total_size"]:
            return _pool(segment)
    return _SHARED


def stop_using_pool(index: int) -> None:
    """Let new tensors get their memory from where they did before."""
    torch._C._cuda_endAllocateToPool(index, pool_in_use(index))


def settings() -> str:
    """What the allocator was told of how to cut and keep memory."""
    told = torch.cuda.memory._snapshot()["allocator_settings"]
    names = ("expandable_segments", "max_split_size", "garbage_collection_threshold", "roundup_power2_divisions")
    return ", ".join(f"{name} {told[name]}" for name in names if name in told)


def _pool(segment: Mapping[str, Any]) -> tuple[int, int]:
    first, second = segment.get("segment_pool_id", _SHARED)
    return int(first), int(second)
