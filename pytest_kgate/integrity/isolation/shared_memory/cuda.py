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

from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL


class CudaWindow:
    """An address range, reserved; one block after the other is mapped there."""

    def __init__(self, index: int, size: int) -> None:
        self._index = index
        self._wanted = size
        self._size = -(-size // _granularity(index)) * _granularity(index)
        self._address = int(_call("cuMemAddressReserve", self._size, 0, 0, 0))
        self._handle: Any = None

    @functools.cached_property
    def bytes(self) -> Tensor:
        """PyTorch asks the driver what lies at the address, so that a block must be mapped the first time."""
        return torch.as_tensor(_Memory(self._address, self._wanted), device=f"cuda:{self._index}")

    def show(self, fd: int) -> None:
        """Import the block and map it."""
        self._map(_call("cuMemImportFromShareableHandle", fd, _as_fd()))

    def make(self) -> int:
        """New memory, mapped; returns a file descriptor of it."""
        handle = _call("cuMemCreate", self._size, _properties(self._index), 0)
        self._map(handle)
        return int(_call("cuMemExportToShareableHandle", handle, _as_fd(), 0))

    def hide(self) -> None:
        """Unmap and release it; the device must be done with it."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        _call("cuMemUnmap", self._address, self._size)
        _call("cuMemRelease", handle)

    def free(self) -> None:
        """Give the address range back."""
        self.hide()
        _call("cuMemAddressFree", self._address, self._size)

    def _map(self, handle: Any) -> None:
        self.hide()
        cuda = driver.bindings()
        access = cuda.CUmemAccessDesc()
        access.location.type = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        access.location.id = self._index
        access.flags = cuda.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
        _call("cuMemMap", self._address, self._size, 0, handle, 0)
        self._handle = handle
        _call("cuMemSetAccess", self._address, self._size, [access], 1)


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


@functools.cache
def _granularity(index: int) -> int:
    """The recommended one: 2 MiB."""
    recommended = driver.bindings().CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_RECOMMENDED
    return int(_call("cuMemGetAllocationGranularity", _properties(index), recommended))


def _properties(index: int) -> Any:
    cuda = driver.bindings()
    wanted = cuda.CUmemAllocationProp()
    wanted.type = cuda.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    wanted.requestedHandleTypes = _as_fd()
    wanted.location.type = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    wanted.location.id = index
    return wanted


def _as_fd() -> Any:
    return driver.bindings().CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR


def _call(name: str, *arguments: Any) -> Any:
    said = f"The CUDA driver could not share memory between processes: {name} says"
    todo = "Isolated candidates need a driver and a container that allow it; without --kgate-isolate none is shared."
    return driver.demand(said, todo, name, *arguments)
