"""Answers in the arithmetic of their own type: integers as integers, complex numbers with both of their parts.

All that is said of an answer (tolerances, root mean squares, rows) is made from the distances that are computed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.rounding.dtypes import dtype_name

_EXACT_IN_FLOAT64 = 2.0**53
"""The largest integer up to which float64 holds them all."""

_FAR = 2.0**62
"""Two int64 that are nearer have a difference which int64 holds."""

_HALF = 2.0**63
"""uint64 is kept in int64 with its highest bit flipped, which keeps order and differences; zero then is minus this."""

_FAR_BEYOND = 2.0
"""Times the largest number of a type. Nearer to it, honest kernels that differ in rounding overflow or not."""


@dataclass(frozen=True)
class Arithmetic:
    """The type in which answers to one problem are compared with the exact one."""

    dtype: torch.dtype
    """Of the answers."""
    wide: torch.dtype
    """float64, complex128, or int64 where the exact answer is of integers too."""

    @classmethod
    def of(cls, exact: Tensor, dtype: torch.dtype) -> Arithmetic:
        """Raises `UsageError` where answers of `dtype` can't be compared with `exact`."""
        if exact.is_complex() and not dtype.is_complex:
            raise UsageError(
                f"The problem's exact answer is complex, its reference's is {dtype_name(dtype)}.",
                "Both must compute the same thing.",
            )
        if dtype.is_complex:
            return cls(dtype, torch.complex128)
        if dtype.is_floating_point:
            return cls(dtype, torch.float64)
        if not exact.is_floating_point():
            if dtype is torch.uint64 and exact.dtype is not dtype and exact.numel() and int(exact.min()) < 0:
                raise UsageError(
                    "The problem's exact answer holds negative numbers, its reference's type uint64 has none.",
                    "Both must compute the same thing.",
                )
            return cls(dtype, torch.int64)
        if exact.numel() and float(max(exact.max(), -exact.min())) > _EXACT_IN_FLOAT64:
            kinds = dict.fromkeys((dtype_name(dtype), "int64"))
            raise UsageError(
                f"The problem's exact answer is {dtype_name(exact.dtype)}, which can't tell integers beyond 2^53 "
                f"apart, and its reference's is {dtype_name(dtype)}.",
                f"Compute `exact` in integers: drop .double(), and return {' or '.join(kinds)}.",
            )
        return cls(dtype, torch.float64)

    @property
    def inexact(self) -> bool:
        """Whether answers are rounded: not of integers."""
        return self.dtype.is_floating_point or self.dtype.is_complex

    @property
    def real_bytes(self) -> int:
        """Bytes of one element of an answer, or of one part of a complex element."""
        return self.dtype.itemsize // (2 if self.dtype.is_complex else 1)

    def widened(self, values: Tensor) -> Tensor:
        """Values in the wide type."""
        if self.wide is torch.int64 and self.dtype is torch.uint64:
            bits = values if values.dtype is torch.uint64 else values.to(torch.int64)
            return bits.contiguous().view(torch.int64) ^ torch.iinfo(torch.int64).min
        return values.to(self.wide)

    def narrowed(self, wide: Tensor) -> Tensor:
        """What an answer of this type holds at best, of wide values."""
        if self.wide is torch.int64 and self.dtype is torch.uint64:
            return (wide ^ torch.iinfo(torch.int64).min).view(torch.uint64)
        return wide.to(self.dtype)

    @property
    def far(self) -> float:
        """From where on a number is too large for the type however it is computed, of a floating-point type."""
        return _FAR_BEYOND * torch.finfo(self.dtype).max

    def overflowed(self, exact: Tensor) -> Tensor:
        """Wide exact values, with infinity in place of what is far beyond the type."""
        return torch.where(exact.abs() > self.far, exact.sign() * math.inf, exact)

    def overflows(self, exact: Tensor, reference: Tensor) -> bool:
        """Whether the reference has infinity wherever wide exact values are far beyond the type.

        One that saturates has the largest number there, and says by it what is right.
        """
        right = self.overflowed(exact)
        return bool(((right == exact) | (right == self.widened(reference))).all())

    def distances(self, one: Tensor, other: Tensor) -> Tensor:
        """|one - other| of wide values, in float64; 0 for the same infinity, NaN where one is NaN."""
        if self.wide is torch.int64:
            apart = (one.double() - other.double()).abs()
            return torch.where(apart < _FAR, (one - other).abs().double(), apart)
        return torch.where(one == other, 0.0, (one - other).abs())

    def sizes(self, wide: Tensor) -> Tensor:
        """The magnitudes of wide values, in float64; 0 for what is not finite."""
        if self.wide is torch.int64:
            return (wide.double() + _HALF if self.dtype is torch.uint64 else wide.double()).abs()
        return torch.where(wide.isfinite(), wide.abs(), 0.0)

    def number(self, wide: Tensor) -> float | int | complex:
        """One wide element as Python's number."""
        if self.wide is torch.int64 and self.dtype is torch.uint64:
            return int(wide) + 2**63
        return complex(wide) if wide.is_complex() else int(wide) if self.wide is torch.int64 else float(wide)
