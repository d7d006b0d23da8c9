"""Coarser number formats, for wrong answers that look right: what is passed off as the problem's own type."""

from __future__ import annotations

import torch
from torch import Tensor

COARSER = {
    torch.float64: (torch.float32,),
    torch.float32: (torch.bfloat16,),
    torch.float16: (torch.bfloat16, torch.float8_e4m3fn),
    torch.bfloat16: (torch.float8_e4m3fn,),
    torch.complex128: (torch.float32,),
    torch.complex64: (torch.bfloat16,),
}
"""What each type is counterfeited with, the nearest first."""


def name_of(dtype: torch.dtype) -> str:
    """The type's name: `fp8`, or as torch has it: `bfloat16`."""
    return "fp8" if dtype.itemsize == 1 else str(dtype).removeprefix("torch.")


def rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The values as `dtype` holds them, in their own type; too large ones become its largest.

    Of complex numbers, both parts are rounded. Integers stay, and so does what has 8 bits already.
    """
    if values.is_complex():
        return torch.view_as_complex(rounded(torch.view_as_real(values.resolve_conj()), dtype))
    if not values.is_floating_point() or values.dtype.itemsize == 1:
        return values
    largest = min(torch.finfo(dtype).max, torch.finfo(values.dtype).max)
    return values.clamp(-largest, largest).to(dtype).to(values.dtype)
