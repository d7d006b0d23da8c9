"""Blocks of a GPU's memory that two processes share, by the driver's virtual memory calls.

`cudaIpcOpenMemHandle` would do for sharing, but is given a handle that the other process could open at any time, and
chooses its own address. Here memory comes as a file descriptor, and is mapped where the receiver wants it.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.integrity.isolation.shared_memory.address_range import AddressRange
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL


class CudaWindow(AddressRange):
    """An address range, reserved; one block after the other is mapped there."""

    def __init__(self, index: int, size: int, address: int | None = None) -> None:
        super().__init__(index, size, address)
        self._wanted = size

    @functools.cached_property
    def bytes(self) -> Tensor:
        """PyTorch asks the driver what lies at the address, so that a block must be mapped the first time."""
        return torch.as_tensor(_Memory(self.address, self._wanted), device=f"cuda:{self.index}")


class CudaBlock:
    """New memory, at an address of its own."""

    def __init__(self, index: int, size: int) -> None:
        self._window = CudaWindow(index, size)
        self.fd = self._window.make()
        self.bytes = self._window.bytes.fill_(FILL)

    def close(self) -> None:
        """The memory goes when nobody maps it any more; the device must be done with it."""
        os.close(self.fd)
        self._window.free()


class _Memory:
    """Bytes at an address of a GPU, as other libraries hand them over."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__: dict[str, Any] = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }
