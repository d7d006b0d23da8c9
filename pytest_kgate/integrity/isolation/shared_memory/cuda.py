"""Blocks of a GPU's memory that two processes share, by the driver's virtual memory calls.

`cudaIpcOpenMemHandle` would do for sharing, but is given a handle that the other process could open at any time, and
chooses its own address. Here memory comes as a file descriptor, and is mapped where the receiver wants it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL

_PINNED, _ON_DEVICE, _AS_FD, _READ_WRITE = 1, 1, 1, 3
"""CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR and
CU_MEM_ACCESS_FLAGS_PROT_READWRITE of cuda.h."""


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Properties(ctypes.Structure):
    """CUmemAllocationProp."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("win32", ctypes.c_void_p),
        ("flags", ctypes.c_ubyte * 8),
    )


class _Access(ctypes.Structure):
    """CUmemAccessDesc."""

    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


class CudaWindow:
    """An address range, reserved; one block after the other is mapped there."""

    def __init__(self, index: int, size: int) -> None:
        self._index = index
        self._wanted = size
        self._size = -(-size // _granularity(index)) * _granularity(index)
        address = ctypes.c_uint64()
        _call("cuMemAddressReserve", ctypes.byref(address), _size(self._size), _size(0), _size(0), _size(0))
        self._address = address.value
        self._handle: int | None = None

    @functools.cached_property
    def bytes(self) -> Tensor:
        """PyTorch asks the driver what lies at the address, so that a block must be mapped the first time."""
        return torch.as_tensor(_Memory(self._address, self._wanted), device=f"cuda:{self._index}")

    def show(self, fd: int) -> None:
        """Import the block and map it."""
        handle = ctypes.c_uint64()
        _call("cuMemImportFromShareableHandle", ctypes.byref(handle), ctypes.c_void_p(fd), _AS_FD)
        self._map(handle.value)

    def make(self) -> int:
        """New memory, mapped; returns a file descriptor of it."""
        handle, fd = ctypes.c_uint64(), ctypes.c_int(-1)
        wanted = _properties(self._index)
        _call("cuMemCreate", ctypes.byref(handle), _size(self._size), ctypes.byref(wanted), _size(0))
        self._map(handle.value)
        _call("cuMemExportToShareableHandle", ctypes.byref(fd), handle, _AS_FD, _size(0))
        return fd.value

    def hide(self) -> None:
        """Unmap and release it; the device must be done with it."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        _call("cuMemUnmap", _size(self._address), _size(self._size))
        _call("cuMemRelease", _size(handle))

    def free(self) -> None:
        """Give the address range back."""
        self.hide()
        _call("cuMemAddressFree", _size(self._address), _size(self._size))

    def _map(self, handle: int) -> None:
        self.hide()
        access = _Access(_Location(_ON_DEVICE, self._index), _READ_WRITE)
        _call("cuMemMap", _size(self._address), _size(self._size), _size(0), _size(handle), _size(0))
        self._handle = handle
        _call("cuMemSetAccess", _size(self._address), _size(self._size), ctypes.byref(access), _size(1))


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
    found, wanted = ctypes.c_size_t(), _properties(index)
    _call("cuMemGetAllocationGranularity", ctypes.byref(found), ctypes.byref(wanted), 1)
    return found.value


def _properties(index: int) -> _Properties:
    return _Properties(_PINNED, _AS_FD, _Location(_ON_DEVICE, index))


def _size(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _call(name: str, *arguments: Any) -> None:
    said = f"The CUDA driver could not share memory between processes: {name} says"
    todo = "Isolated candidates need a driver and a container that allow it; without --kgate-isolate none is shared."
    driver.demand(said, todo, name, *arguments)
