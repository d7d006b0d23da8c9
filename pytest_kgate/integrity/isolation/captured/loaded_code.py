"""The device code that the driver loads into this process, told by CUPTI; runs in the candidate's own process.

A library keeps its code for many GPUs, packed and by the thousand, and a function does not say where it is from. CUPTI
tells each module as it is loaded, which is but when a first kernel of it is launched.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LIBRARIES = ("libcupti.so.13", "libcupti.so.12")
"""PyTorch's builds for CUDA bring one of them, and have loaded it."""

_RESOURCE_DOMAIN, _MODULE_LOADED = 3, 6
"""`CUPTI_CB_DOMAIN_RESOURCE` and `CUPTI_CBID_RESOURCE_MODULE_LOADED` of CUPTI's headers."""

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


class _Resource(ctypes.Structure):
    """`CUpti_ResourceData`."""

    _fields_ = (("context", ctypes.c_void_p), ("handle", ctypes.c_void_p), ("descriptor", ctypes.c_void_p))


class _Module(ctypes.Structure):
    """`CUpti_ModuleResourceData`."""

    _fields_ = (("number", ctypes.c_uint32), ("size", ctypes.c_size_t), ("image", ctypes.c_void_p))


class LoadedCode:
    """Keeps each module that is loaded from now on. Make it once in a process: CUPTI serves one that asks."""

    def __init__(self) -> None:
        self.images: dict[bytes, None] = {}
        """Object files of the GPU, in the order in which they were loaded."""
        self._callback = _CALLBACK(self._loaded)
        self._subscriber = ctypes.c_void_p()
        self._cupti: Any = None
        for library in _LIBRARIES:
            with contextlib.suppress(OSError):
                self._cupti = ctypes.CDLL(library)
                break
        self.watches = self._cupti is not None and self._subscribed()
        """Whether there is a CUPTI that tells."""

    def save(self, kernels: Iterable[str], folder: Path) -> None:
        """Write the modules that hold these kernels to a new folder, a file each."""
        folder.mkdir()
        names = [name.encode("ascii", "replace") + b"\0" for name in set(kernels)]
        for number, image in enumerate(self.images):
            if any(name in image for name in names):
                (folder / f"{number}.cubin").write_bytes(image)

    def end(self) -> None:
        """Stop keeping modules that are loaded."""
        if self.watches:
            self._cupti.cuptiUnsubscribe(self._subscriber)
            self.watches = False

    def _subscribed(self) -> bool:
        if self._cupti.cuptiSubscribe(ctypes.byref(self._subscriber), self._callback, None):
            return False
        return not self._cupti.cuptiEnableCallback(1, self._subscriber, _RESOURCE_DOMAIN, _MODULE_LOADED)

    def _loaded(self, _: int | None, domain: int, event: int, data: int) -> None:
        if (domain, event) == (_RESOURCE_DOMAIN, _MODULE_LOADED):
            module = _Module.from_address(_Resource.from_address(data).descriptor)
            self.images.setdefault(ctypes.string_at(module.image, module.size))
