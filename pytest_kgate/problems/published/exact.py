"""The exact answer of a published problem: its own reference in float64, where that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pytest_kgate.errors import ProblemRaised
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.rounding.precision import FACTOR
from pytest_kgate.problems.rounding.precision import RUNS
from pytest_kgate.problems.rounding.precision import Precision
from pytest_kgate.problems.rounding.tf32 import without_tf32
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.foreign import said_by
from pytest_kgate.problems.trees.foreign import str_of

_WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}

_NARROWING = (Tensor.float, Tensor.half, Tensor.bfloat16)
"""Methods that name a type without an argument for it."""

_REPEATS = 1e-3
"""Of the answer's rms: two calls on the same inputs that differ by more differ by more than the order of sums does."""

_AGREES = 0.1
"""Of the answer's rms: the same between the model and itself in float64. TF32 in a hundred layers comes to a tenth of
that; another constant or another weight is beyond it, unless the model is ill-conditioned."""


class ExactAnswerOf:
    """Calls the reference in float64; in its own types without TF32 where that does not run, or differs."""

    def __init__(self, reference: Callable[..., Any], wide: Callable[[torch.device], Callable[..., Any]]) -> None:
        """`wide` makes what is called in place of the reference where all is in float64, on a device."""
        self._reference = reference
        self._make_wide = wide
        self._wide: Callable[..., Any] | None = None
        self.dtype: str | None = None
        """`float64`, or `float32 without TF32` and why; None before the first answer."""

    def __call__(self, *inputs: Any) -> Any:
        if self.dtype is None:
            self._choose(inputs)
        return self._in_float64(inputs) if self.dtype == "float64" else self._in_own_type(inputs)

    def _choose(self, inputs: tuple[Any, ...]) -> None:
        """Find out what runs. Raises `UsageError` where the reference's answer is another in each call."""
        first, second = (self._reference(*inputs) for _ in range(2))
        if _difference(first, second) > _REPEATS:
            raise UsageError(
                "The reference's answer to the same inputs changes from call to call, so that no answer can be "
                "checked: it draws random numbers, as dropout and sampling do, or keeps state.",
                "Use a copy of the problem in which it does not: a dropout of 0, a state among the inputs.",
            )
        try:
            exact = self._in_float64(inputs)
            narrow = [one.dtype for one in tree.tensors(exact) if one.dtype in _WIDE]
            if narrow:
                why = f"in float64 it returns {str(narrow[0]).removeprefix('torch.')}"
            elif (apart := _difference(first, exact)) > _AGREES and not self._is_ill_conditioned(inputs, exact, apart):
                why = "in float64 it computes something else"
            else:
                self.dtype = "float64"
                return
        except (RuntimeError, TypeError, ValueError, AssertionError, ProblemRaised) as raised:
            error = raised.__cause__ or raised if isinstance(raised, ProblemRaised) else raised
            if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str_of(error):
                raise
            why = f"in float64 it raises {type(error).__name__}: {said_by(error).splitlines()[0]}"
        self._wide = None
        found = (str(one.dtype).removeprefix("torch.") for one in tree.tensors(first) if one.is_floating_point())
        self.dtype = f"{next(found, 'float32')} without TF32: {why}"

    def _is_ill_conditioned(self, inputs: tuple[Any, ...], exact: Any, apart: float) -> bool:
        """Whether rounding alone explains that the reference is so far `apart` from the answer in float64."""
        precision = Precision.of(tree.tensors(inputs))
        for run in range(RUNS):
            with precision.rounding(run):
                moved = self._in_float64(inputs)
            if apart <= FACTOR * _difference(moved, exact):
                return True
        return False

    def _in_float64(self, inputs: tuple[Any, ...]) -> Any:
        if self._wide is None:
            self._wide = self._make_wide(device_of(inputs))
        with torch.no_grad(), _default_float64(), _Widening():
            return self._wide(*in_float64(inputs))

    def _in_own_type(self, inputs: tuple[Any, ...]) -> Any:
        with without_tf32():
            return self._reference(*inputs)


def device_of(inputs: tuple[Any, ...]) -> torch.device:
    """The device of the first tensor; the CPU where there is none."""
    first = next(tree.tensors(inputs), None)
    return torch.device("cpu") if first is None else first.device


def in_float64(one: Any) -> Any:
    """A tree with its floating-point tensors in float64, those of 8 bits aside."""
    return tree.mapped(one, lambda tensor: tensor.to(_WIDE.get(tensor.dtype, tensor.dtype)))


class _Widening(TorchFunctionMode):
    """In the block, float64 stands wherever code names a narrower type, as in `x.float()` or `dtype=torch.float32`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _NARROWING:
            return Tensor.double(*args)
        wide = {name: _wide_type(one) for name, one in (kwargs or {}).items()}
        return func(*(_wide_type(one) for one in args), **wide)


def _wide_type(one: Any) -> Any:
    return _WIDE.get(one, one) if isinstance(one, torch.dtype) else one


@contextlib.contextmanager
def _default_float64() -> Iterator[None]:
    """In the block, `torch.tensor(0.5)` and `torch.zeros(3)` are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _difference(one: Any, other: Any) -> float:
    """Root mean square of the difference of two answers, over that of the second; of whole numbers, 0 where equal.

    Infinite where they are built otherwise.
    """
    worst = 0.0
    for a, b in zip(tree.tensors(one), tree.tensors(other), strict=True):
        if a.shape != b.shape:
            return float("inf")
        if not b.is_floating_point():
            continue
        x, y = a.double(), b.double()
        kept = x.isfinite() & y.isfinite()
        error = torch.where(kept, x - y, 0.0).square().mean().sqrt() if x.numel() else torch.zeros(())
        size = torch.where(kept, y, 0.0).square().mean().sqrt() if x.numel() else torch.ones(())
        worst = max(worst, float(error / size) if float(size) else float(error > 0))
    return worst
