"""Memory that one process hands to another as a file descriptor; of a GPU's, see `cuda_memory`.

A block is made for one row of calls, and nobody but its maker can see it before the descriptor is handed over. The
process that receives it shows it at an address that stays the same, so that tensors and captured graphs stay valid.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import torch
from torch import Tensor

from pytest_kgate.integrity.isolation.shared_memory.layout import FILL

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_PROT_NONE, _MAP_FIXED, _MAP_POPULATE, _MAP_NORESERVE = 0, 0x10, 0x8000, 0x4000
"""Of Linux's mman.h; Python's `mmap` has no way to choose the address."""


class Block(Protocol):
    """The maker's view."""

    fd: int
    bytes: Tensor
    """All of it, as uint8."""

    def close(self) -> None:
        """Give it back; the device must be idle."""
        ...


class Window(Protocol):
    """The receiver's view: one block after the other, at one address."""

    @property
    def bytes(self) -> Tensor:
        """All of it, as uint8; usable once a block was shown, and only while one is."""
        ...

    def show(self, fd: int) -> None:
        """Put this block behind the window."""
        ...

    def hide(self) -> None:
        """Take the block away."""
        ...


def make_block(device: Device, size: int) -> Block:
    """A new block of the device's memory, filled with NaN."""
    if device.kind == "cuda":
        from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaBlock

        return CudaBlock(_index(device), size)
    return HostBlock(size)


def make_window(device: Device, size: int) -> Window:
    """For blocks of this size on the device."""
    if device.kind == "cuda":
        from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaWindow

        return CudaWindow(_index(device), size)
    return HostWindow(size)


def _index(device: Device) -> int:
    return int(device.torch_device.partition(":")[2])


class HostBlock:
    """Anonymous memory of the host."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("kgate-block")
        os.ftruncate(self.fd, size)
        self.bytes = torch.frombuffer(mmap.mmap(self.fd, size), dtype=torch.uint8).fill_(FILL)

    def close(self) -> None:
        """The memory goes when nobody maps it any more."""
        os.close(self.fd)


class HostWindow:
    """An address range, reserved."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._address = self._map(None, _PROT_NONE, flags, -1)
        memory: Any = (ctypes.c_uint8 * size).from_address(self._address)
        self.bytes = torch.frombuffer(memory, dtype=torch.uint8)

    def show(self, fd: int) -> None:
        """All pages at once: a fault at each would be timed with the calls."""
        flags = mmap.MAP_SHARED | _MAP_FIXED | _MAP_POPULATE
        self._map(self._address, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd)

    def hide(self) -> None:
        """Reserve the range again."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE
        self._map(self._address, _PROT_NONE, flags, -1)

    def _map(self, address: int | None, protection: int, flags: int, fd: int) -> int:
        found = self._libc.mmap(
            ctypes.c_void_p(address), ctypes.c_size_t(self._size), protection, flags, fd, ctypes.c_long(0)
        )
        if found == ctypes.c_void_p(-1).value:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(found)
