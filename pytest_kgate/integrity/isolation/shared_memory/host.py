"""Host memory that one process shares with another by a file descriptor; the GPU's is in `shared_memory/cuda.py`.

A block is made for one row of calls; no other process sees it before it gets the descriptor. The receiver maps each
block at the same address, so that tensors and captured graphs stay valid.
"""

from __future__ import annotations

import ctypes
import fcntl
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

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""A block keeps its size: to read beyond the end of a file that was cut short would end the judging process (SIGBUS).
There can be no further seals either. A hole that is punched into it reads as zeros."""

_PROT_NONE, _MAP_FIXED, _MAP_POPULATE, _MAP_NORESERVE = 0, 0x10, 0x8000, 0x4000
"""Of Linux's mman.h; Python's `mmap` has no way to choose the address."""


class Block(Protocol):
    """A block of shared memory in the process that made it."""

    fd: int
    """The file descriptor, for the other process."""
    bytes: Tensor
    """The whole block, (size,) of uint8."""

    def close(self) -> None:
        """Free the block; the device must be idle."""
        ...


class Window(Protocol):
    """An address range in the receiving process, where one block after the other is mapped."""

    @property
    def bytes(self) -> Tensor:
        """The whole range, (size,) of uint8; to be used only while a block is mapped."""
        ...

    def show(self, fd: int) -> None:
        """Map the block of this file descriptor."""
        ...

    def hide(self) -> None:
        """Unmap the block."""
        ...


def make_block(device: Device, size: int) -> Block:
    """A new block of `size` bytes of the device's memory, filled with bytes that read as NaN."""
    if device.kind == "cuda":
        from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaBlock

        return CudaBlock(_index(device), size)
    return HostBlock(size)


def make_window(device: Device, size: int, at: int | None = None) -> Window:
    """An address range for blocks of `size` bytes of the device's memory; on a GPU `at` an address that is reserved."""
    if device.kind == "cuda":
        from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaWindow

        return CudaWindow(_index(device), size, at)
    return HostWindow(size)


def _index(device: Device) -> int:
    return int(device.torch_device.partition(":")[2])


class HostBlock:
    """A block of anonymous host memory (memfd), whose size nobody can change."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("kgate-block", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        self.bytes = torch.frombuffer(mmap.mmap(self.fd, size), dtype=torch.uint8).fill_(FILL)

    def close(self) -> None:
        """Close the descriptor; the kernel frees the memory once no process maps it."""
        os.close(self.fd)


class HostWindow:
    """A reserved address range of this process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._address = self._map(None, _PROT_NONE, flags, -1)
        memory: Any = (ctypes.c_uint8 * size).from_address(self._address)
        self.bytes = torch.frombuffer(memory, dtype=torch.uint8)

    def show(self, fd: int) -> None:
        """Map the block with all its pages, since page faults would be timed with the calls."""
        flags = mmap.MAP_SHARED | _MAP_FIXED | _MAP_POPULATE
        self._map(self._address, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd)

    def hide(self) -> None:
        """Unmap the block, and reserve the range again."""
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
