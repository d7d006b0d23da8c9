"""Temporary memory of captured calls, at addresses that the timer's process has too; runs in the candidate's process.

What a kernel is told of temporary memory are addresses. So PyTorch's allocator is given this memory while calls are
captured. Only then: a candidate that captures graphs of its own in plain calls allocates in pools of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

import torch

from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.isolation.shared_memory.address_range import SCRATCH_ADDRESS
from pytest_kgate.integrity.isolation.shared_memory.address_range import SCRATCH_BYTES
from pytest_kgate.integrity.isolation.shared_memory.address_range import AddressRange

_ALLOCATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)

_ALIGNMENT = 512


class Holes:
    """What is free of a range of addresses; the first hole that is large enough is taken."""

    def __init__(self, start: int, size: int) -> None:
        self._free = [(start, start + size)]

    def take(self, size: int) -> int | None:
        """The first of `size` addresses, a multiple of 512; None where no hole is so large."""
        size = _aligned(size)
        for at, (start, end) in enumerate(self._free):
            if end - start >= size:
                self._free[at : at + 1] = [(start + size, end)] if end - start > size else []
                return start
        return None

    def give_back(self, start: int, size: int) -> None:
        """Free what was taken; neighbours become one hole."""
        joined: list[tuple[int, int]] = []
        for hole in sorted([*self._free, (start, start + _aligned(size))]):
            if joined and joined[-1][1] == hole[0]:
                joined[-1] = (joined[-1][0], hole[1])
            else:
                joined.append(hole)
        self._free = joined


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class Scratch:
    """A memory pool of PyTorch's on this memory, and on the driver's own once it is used up.

    To be kept as long as the process lives: the allocator calls its functions whenever it frees memory of the pool.
    """

    def __init__(self, index: int) -> None:
        os.close(AddressRange(index, SCRATCH_BYTES, SCRATCH_ADDRESS).make())
        self._holes = Holes(SCRATCH_ADDRESS, SCRATCH_BYTES)
        self._functions = (_ALLOCATE(self._allocate), _FREE(self._free))
        allocate, free = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in self._functions)
        # What `torch.cuda.CUDAPluggableAllocator` calls for functions of a library.
        self.pool = torch.cuda.MemPool(torch._C._cuda_customAllocator(allocate, free))

    def _allocate(self, size: int, _device: int, _stream: int | None) -> int | None:
        address = self._holes.take(size)
        if address is None:
            with contextlib.suppress(driver.DriverError):  # None is how PyTorch is told that there is no memory
                address = int(driver.call("cuMemAlloc", size))
        return address

    def _free(self, address: int, size: int, _device: int, _stream: int | None) -> None:
        if SCRATCH_ADDRESS <= address < SCRATCH_ADDRESS + SCRATCH_BYTES:
            self._holes.give_back(address, size)
        else:
            with contextlib.suppress(driver.DriverError):
                driver.call("cuMemFree", address)
