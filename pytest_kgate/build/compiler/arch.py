"""Which GPU architecture to compile for."""

from __future__ import annotations

import re

from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.system.pytorch import require_torch

WITHOUT_GPU = "sm_80"
"""Compiled for where no GPU says otherwise: the oldest that the shipped kernels run on."""

_NAME = re.compile(r"sm_\d{2,3}[af]?")
_ARCHITECTURE_SPECIFIC = {(9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1)}
"""Compute capabilities whose fastest instructions (wgmma, tcgen05) exist only under the name with an `a`."""


def parse(name: str) -> str:
    """The name as nvcc writes it. Raises `UsageError`; whether this nvcc supports it is nvcc's to say."""
    text = name.strip().lower()
    if not _NAME.fullmatch(text):
        raise UsageError(f"{name!r} is not a GPU architecture.", "Write it as nvcc does: sm_80, sm_89, sm_90a.")
    return text


def of_capability(major: int, minor: int) -> str:
    """The architecture that brings out all that a GPU of this compute capability has."""
    suffix = "a" if (major, minor) in _ARCHITECTURE_SPECIFIC else ""
    return f"sm_{major}{minor}{suffix}"


def of_device() -> str:
    """The architecture of PyTorch's current CUDA device; `WITHOUT_GPU` where there is none."""
    try:
        require_torch()
    except DeviceMissing:
        return WITHOUT_GPU
    import torch

    if not torch.cuda.is_available():
        return WITHOUT_GPU
    return of_capability(*torch.cuda.get_device_capability())


def gencode(arch: str) -> str:
    """nvcc's flag for machine code of this architecture alone."""
    return f"-gencode=arch=compute_{arch.removeprefix('sm_')},code={arch}"
