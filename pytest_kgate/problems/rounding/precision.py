"""In which precision a problem computes its answers: by the types of its tensors, and whether products are in TF32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_kgate.problems.rounding.random_rounding import MANTISSA_BITS
from pytest_kgate.problems.rounding.random_rounding import RandomRounding

FACTOR = 4.0
"""A right answer may be off by so many times what random rounding moves the exact one by. KernelBench's UNetSoftmax and
EfficientNetB2, whose batch norms get nearly equal values, came to 0.4 to 1.8 times in float32, and with convolutions in
TF32 to 0.5 to 1.0: rounding within long sums is not in the model."""

RUNS = 4
"""Of random rounding, of which that counts by which most is moved: where a few roundings decide, as about the sign of a
small difference, not every run has one of them."""

_TF32_BITS = 10

_REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
"""The type of both parts, by that of complex numbers."""


@dataclass(frozen=True)
class Precision:
    """How many bits of the mantissa are kept."""

    bits: int
    """Of results, and of operands of sums."""
    product_bits: int
    """Of operands of products."""
    name: str
    """`float32`, or `float32 (products to TF32)`."""

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Precision:
        """The precision of the coarsest of these tensors, 8-bit ones aside; float32 where none is of real numbers."""
        found = list(tensors)
        types = {_REAL.get(one.dtype, one.dtype) for one in found}
        coarsest = min(types & MANTISSA_BITS.keys(), key=MANTISSA_BITS.__getitem__, default=torch.float32)
        bits, name = MANTISSA_BITS[coarsest], str(coarsest).removeprefix("torch.")
        if coarsest is torch.float32 and any(tf32_switches(one.device, one.dtype) for one in found):
            return cls(bits, _TF32_BITS, f"{name} (products to TF32)")
        return cls(bits, bits, name)

    def rounding(self, run: int) -> RandomRounding:
        """A block in which all is rounded so; another run draws other errors."""
        return RandomRounding(self.bits, self.product_bits, run)


def tf32_switches(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """What PyTorch computes in TF32 on the way to answers of this type, and how each is turned off."""
    if device.type != "cuda" or dtype not in (torch.float32, torch.complex64):
        return {}
    found: dict[str, str] = {}
    with contextlib.suppress(RuntimeError):  # of a process that sets both this and `fp32_precision`
        if torch.backends.cuda.matmul.allow_tf32:
            found["matrix products"] = "torch.backends.cuda.matmul.allow_tf32 = False"
        if torch.backends.cudnn.allow_tf32:
            found["convolutions"] = "torch.backends.cudnn.allow_tf32 = False"
    return found
