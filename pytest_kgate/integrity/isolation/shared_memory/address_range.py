"""Address ranges of a GPU, and memory that is mapped there, by the driver's virtual memory calls; without PyTorch."""

from __future__ import annotations

import functools
from typing import Any

from pytest_kgate.device.cuda import driver

RELAUNCH_ADDRESS = 0x6000_0000_0000
"""Where the candidate's process and the timer's both map the memory of calls that are captured in one and launched in
the other. Far from where the driver puts what nobody has placed."""

RELAUNCH_BYTES = 2**34
"""How much is reserved there; only addresses, no memory."""

SCRATCH_ADDRESS = RELAUNCH_ADDRESS + RELAUNCH_BYTES
"""Where both have the temporary memory of these calls."""

SCRATCH_BYTES = 2**28
"""How much of it there is; PyTorch asks for 20 MiB or more at a time where a tensor takes over 1 MiB."""


class AddressRange:
    """Addresses, reserved; one piece of shared memory after the other is mapped there."""

    def __init__(self, index: int, size: int, address: int | None = None) -> None:
        """`address`: within what `reserve_early` has reserved; None for addresses of the driver's choice."""
        self.index = index
        granularity = _granularity(index)
        self.size = -(-size // granularity) * granularity
        self._own = address is None
        self.address = int(_call("cuMemAddressReserve", self.size, 0, 0, 0)) if address is None else address
        self._handle: Any = None

    def show(self, fd: int) -> None:
        """Import the memory of this file descriptor and map it."""
        self._map(_call("cuMemImportFromShareableHandle", fd, _as_fd()))

    def make(self) -> int:
        """New memory, mapped; returns a file descriptor of it."""
        handle = _call("cuMemCreate", self.size, _properties(self.index), 0)
        self._map(handle)
        return int(_call("cuMemExportToShareableHandle", handle, _as_fd(), 0))

    def hide(self) -> None:
        """Unmap and release it; the device must be done with it."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        _call("cuMemUnmap", self.address, self.size)
        _call("cuMemRelease", handle)

    def free(self) -> None:
        """Give the addresses back."""
        self.hide()
        if self._own:
            _call("cuMemAddressFree", self.address, self.size)

    def _map(self, handle: Any) -> None:
        self.hide()
        cuda = driver.bindings()
        access = cuda.CUmemAccessDesc()
        access.location.type = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        access.location.id = self.index
        access.flags = cuda.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
        _call("cuMemMap", self.address, self.size, 0, handle, 0)
        self._handle = handle
        _call("cuMemSetAccess", self.address, self.size, [access], 1)


def make_context(index: int) -> None:
    """Make the device's primary context, which PyTorch uses too, and make it current."""
    _call("cuInit", 0)
    _call("cuCtxSetCurrent", _call("cuDevicePrimaryCtxRetain", _call("cuDeviceGet", index)))


def reserve_early(index: int) -> bool:
    """Make the device's primary context and reserve the addresses from `RELAUNCH_ADDRESS`; whether they could be had.

    It must come before PyTorch uses the device: once it has, the driver no longer heeds where addresses are wanted.
    """
    make_context(index)
    wanted = RELAUNCH_BYTES + SCRATCH_BYTES
    return int(_call("cuMemAddressReserve", wanted, 0, RELAUNCH_ADDRESS, 0)) == RELAUNCH_ADDRESS


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
