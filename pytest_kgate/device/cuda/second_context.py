"""A second CUDA context of this process, whose turn on the GPU puts the first one's kernels into one state.

Once more than seven kernels have run on a second stream of a context, each kernel of a graph takes up to 0.35 us longer
there (on an H200), until another context has had the GPU. What a session did before would so decide what its kernels
read, and isolated rows, which follow another process each time, would read otherwise than those of a session.
"""

from __future__ import annotations

import functools
from typing import Any

from pytest_kgate.device.cuda import driver

UNAVAILABLE = (
    "no second CUDA context could be made on this GPU, as where its memory is full or its compute mode is exclusive: "
    "kernels may read up to 0.35 us longer each, by what the session did before, than in other sessions and isolated"
)
"""A warning of races that have to do without."""

_WITH_PARAMETERS = 13000
"""The version of CUDA from which a context is created with parameters."""


class SecondContext:
    """A context with an empty kernel, which takes some hundred MiB of the GPU's memory and 0.13 s to make."""

    def __init__(self, index: int, image: bytes) -> None:
        device = driver.call("cuDeviceGet", index)
        parameters = (None,) if driver.bindings().CUDA_VERSION >= _WITH_PARAMETERS else ()
        self._context = driver.call("cuCtxCreate", *parameters, 0, device)  # and makes it current
        try:
            module = driver.call("cuModuleLoadData", image)
            self._null: Any = driver.call("cuModuleGetFunction", module, b"kgate_null")
        except driver.DriverError:
            driver.call("cuCtxDestroy", self._context)  # and makes the one before current
            raise
        driver.call("cuCtxPopCurrent")

    def take_turn(self) -> None:
        """Run a kernel in this context and wait for it, 23 us; the caller's context is current again afterwards.

        Raises `TimingError` where the driver refuses.
        """
        _demand("cuCtxPushCurrent", self._context)
        try:
            _demand("cuLaunchKernel", self._null, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)
            _demand("cuCtxSynchronize")
        finally:
            _demand("cuCtxPopCurrent")


def _demand(name: str, *arguments: Any) -> None:
    driver.demand("The GPU could not be given to a second CUDA context:", driver.CONTEXT_LOST, name, *arguments)


@functools.cache
def second_context(index: int, image: bytes) -> SecondContext | None:
    """This process's second context on a device, with a module of `image`; None where the driver makes none."""
    try:
        return SecondContext(index, image)
    except driver.DriverError:
        return None
