"""Overwrites the memory of an answer as it is freed: no later call may find the old answer there, nor a part of it."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.trees import tree

_BYTE = 0xFF
"""A number of such bytes is NaN, or -1."""


def free(held: list[Any]) -> None:
    """Let go of the answer that this list holds, and overwrite its memory where nobody else has it.

    A candidate may keep what it returns, such as a buffer or a constant: that stays as it is. The caller has no other
    reference to the answer.
    """
    tensors = [one for one in tree.tensors(held) if type(one) is Tensor and one.layout is torch.strided]
    held.clear()
    storages = [(weakref.ref(one), one.untyped_storage()) for one in tensors]
    tensors.clear()
    for tensor, storage in storages:
        # Not of memory that is NumPy's, which can't be resized: who has that, PyTorch does not know.
        if tensor() is None and storage.resizable() and _holders(storage) == 1 and storage.nbytes():
            if storage.device.type == "cpu":
                ctypes.memset(storage.data_ptr(), _BYTE, storage.nbytes())
            else:
                torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).fill_(_BYTE)


def _holders(storage: torch.UntypedStorage) -> int:
    """How many tensors and other objects share this memory, this one included; 0 where PyTorch does not tell."""
    count = getattr(torch._C, "_storage_Use_Count", None)
    return int(count(storage._cdata)) if count is not None else 0
