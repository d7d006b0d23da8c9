"""PyTorch's allocator on a GPU: how much memory a candidate keeps, and from which pool new tensors get theirs."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import torch

from pytest_kgate.report.format import percent

_MOST = 0.25
"""Share of the GPU's memory that a candidate may keep. Weights in another layout, workspaces and pools of its own
graphs are honest, and take a few times the problem. A candidate that keeps more takes it from the reference, whose
libraries choose slower algorithms where memory is short, and from later tests."""

_SHARED = (0, 0)
"""The id of the default pool, which is no graph's and no `torch.cuda.MemPool`'s."""


class MemoryBaseline:
    """The bytes of one device in use when this was made, to compare later use with."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._total = torch.cuda.get_device_properties(index).total_memory
        self._before = held_bytes(torch.cuda.memory_snapshot(), index)

    def growth(self) -> str | None:
        """One clause where use has grown by more than a candidate may keep; None where not."""
        found = left_behind(self._before, held_bytes(torch.cuda.memory_snapshot(), self._index), self._total)
        if found is None:
            return None
        torch.cuda.empty_cache()  # pools of destroyed graphs count until they are emptied
        return left_behind(self._before, held_bytes(torch.cuda.memory_snapshot(), self._index), self._total)


def left_behind(before: int, now: int, total: int) -> str | None:
    """One clause where bytes in use have grown by more than a quarter of `total`; None where not."""
    if now - before <= _MOST * total:
        return None
    return (
        f"{(now - before) / 2**30:.1f} of the GPU's {total / 2**30:.1f} GiB are still in use, which is more than "
        f"{percent(_MOST)} of them"
    )


def held_bytes(snapshot: Iterable[Mapping[str, Any]], index: int) -> int:
    """Bytes of a device that no one else can use: those of tensors, and all of a private pool, free blocks included.

    `snapshot` is what `torch.cuda.memory_snapshot` returns.
    """
    return sum(
        int(segment["allocated_size" if _pool(segment) == _SHARED else "total_size"])
        for segment in snapshot
        if segment["device"] == index
    )


def pool_in_use(index: int) -> tuple[int, int]:
    """The id of the pool that a new tensor gets its memory from; (0, 0) is the default one."""
    address = torch.empty(1, device=f"cuda:{index}").data_ptr()
    for segment in torch.cuda.memory_snapshot():
        if segment["address"] <= address < segment["address"] + segment["total_size"]:
            return _pool(segment)
    return _SHARED


def stop_using_pool(index: int) -> None:
    """End the use of the pool that new tensors get their memory from, so that the one before is used again."""
    torch._C._cuda_endAllocateToPool(index, pool_in_use(index))


def settings() -> str:
    """The allocator's settings for splitting and caching blocks (`PYTORCH_CUDA_ALLOC_CONF`), as one text."""
    told = torch.cuda.memory._snapshot()["allocator_settings"]
    names = ("expandable_segments", "max_split_size", "garbage_collection_threshold", "roundup_power2_divisions")
    return ", ".join(f"{name} {told[name]}" for name in names if name in told)


def _pool(segment: Mapping[str, Any]) -> tuple[int, int]:
    first, second = segment.get("segment_pool_id", _SHARED)
    return int(first), int(second)
