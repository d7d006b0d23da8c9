"""Calls of the CUDA driver API that PyTorch does not offer, through NVIDIA's bindings (`cuda-bindings`)."""

from __future__ import annotations

import functools
from typing import Any

from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.trees.foreign import said_by

_OLDEST_CUDA = 12
"""The oldest major version of the bindings that is installed for; a newer driver takes calls of an older CUDA, too."""


CONTEXT_LOST = "If an earlier kernel faulted, the CUDA context is lost: run the remaining tests in a new process."
"""What to do where a call fails that a whole context takes."""


class DriverError(Exception):
    """A driver call failed; the message is the driver's own description of the error."""


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the driver API by name, such as `cuCtxGetLimit`; returns None, one value or a tuple.

    Takes and returns what `cuda.bindings.driver` does. Raises `DriverError` where the function fails, where this driver
    or these bindings have none of the name, and where the bindings do not know what was answered; `DeviceMissing`
    without bindings.
    """
    cuda = bindings()
    try:
        function = getattr(cuda, name)
    except AttributeError:
        raise DriverError(f"this cuda-bindings has no {name}") from None
    try:
        status, *answer = function(*arguments)
    except (RuntimeError, KeyError, ValueError) as error:  # no such function or driver; an error or an enum's value
        raise DriverError(f"{name}: {error}") from None
    if status.value:
        raise DriverError(_in_words(cuda, status))
    return (answer[0] if len(answer) == 1 else tuple(answer)) if answer else None


def demand(said: str, todo: str, name: str, *arguments: Any) -> Any:
    """Call a function of the driver API without which nothing can be timed; raises `TimingError` where it fails.

    The error says `said`, then the driver's own description; `todo` is its advice.
    """
    try:
        return call(name, *arguments)
    except DriverError as error:
        raise TimingError(f"{said} {said_by(error)}.", todo) from None


@functools.cache
def bindings() -> Any:
    """The module `cuda.bindings.driver`, with the driver's enums and structures; imported here, in 0.05 s.

    PyTorch's CUDA builds depend on it since 2.10. Nothing else could choose a version that fits an older build's CUDA.
    """
    try:
        from cuda.bindings import driver
    except ImportError:
        import torch

        major = max(_OLDEST_CUDA, int((torch.version.cuda or "").partition(".")[0] or _OLDEST_CUDA))
        raise DeviceMissing(
            "The CUDA driver can't be called: the package cuda-bindings is not installed, which PyTorch's CUDA builds "
            "bring along since 2.10.",
            f"pip install 'cuda-bindings=={major}.*'",
        ) from None
    return driver


def _in_words(cuda: Any, status: Any) -> str:
    _, text = cuda.cuGetErrorString(status)
    return text.decode() if text else str(status.name)
