"""Calls of the CUDA driver that PyTorch has no name for."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from pytest_kgate.errors import TimingError


class DriverError(Exception):
    """What the driver answered instead of success, in its own words."""


def call(name: str, *arguments: Any) -> None:
    """Call the function of this name, such as `cuCtxGetLimit`, with ctypes arguments.

    Raises `DriverError` where it fails, or where this driver has no such function; `OSError` where there is no driver.
    """
    try:
        function = getattr(_library(), name)
    except AttributeError:
        raise DriverError(f"this driver has no {name}") from None
    status = function(*arguments)
    if status:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(status, ctypes.byref(text))
        raise DriverError(text.value.decode() if text.value else f"error {status}")


def demand(said: str, todo: str, name: str, *arguments: Any) -> None:
    """As `call`, where there is no going on without it: `TimingError`, what is `said` ahead of the driver's words."""
    try:
        call(name, *arguments)
    except DriverError as error:
        raise TimingError(f"{said} {error}.", todo) from None


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")
