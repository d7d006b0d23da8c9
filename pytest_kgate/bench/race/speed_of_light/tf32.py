"""Whether PyTorch rounds the operands of float32 products to TF32 on a GPU.

PyTorch 2.9 has a setting for this alone, `fp32_precision`. Once a user has touched it, the older ones can't be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def rounds_to_tf32() -> bool:
    """Whether PyTorch now rounds the operands of float32 products to TF32 on a GPU."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return torch.get_float32_matmul_precision() != "highest"


@contextlib.contextmanager
def rounding_to_tf32(wanted: bool) -> Iterator[None]:
    """Whether it does in the block; the setting is then what it was."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        before = matmul.fp32_precision
        matmul.fp32_precision = "tf32" if wanted else "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before
        return
    legacy = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if wanted else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(legacy)
