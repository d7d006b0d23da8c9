"""TF32 switched off, and its coarsest honest form: products of float32 whose operands lose the bits that it lacks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_DROPPED = 13
"""Bits of float32's mantissa that TF32 does not have."""

OPERANDS = {
    **dict.fromkeys(("convolution", "_convolution", "conv1d", "conv2d", "conv3d"), (0, 1)),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), (0, 1)),
    **dict.fromkeys(("mm", "bmm", "mv", "matmul", "linear"), (0, 1)),
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addbmm"), (1, 2)),
}
"""The places of what is multiplied among the arguments of PyTorch's operators: a bias is added in float32."""

_OTHER_PRODUCTS = re.compile(r"conv|mm|mv|dot|matmul|^linear|einsum|cdist|linalg|attention|rnn|lstm|gru|_backward$")
"""By a part of their names, operators that multiply within, or whose gradients jump where their argument crosses 0."""

_JUMPS = {
    *("round", "floor", "ceil", "trunc", "frac", "fmod", "remainder", "floor_divide", "sign", "sgn", "heaviside"),
    *("hardshrink", "bernoulli", "multinomial"),
}
"""Operators whose results jump where their argument moves by the least."""

_OWN_INTEGERS = re.compile(r"max_pool|batch_norm")
"""Operators that return integers or bytes beside their results, for their gradients."""


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """A block in which PyTorch computes nothing in TF32."""
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [one.allow_tf32 for one in settings]
    try:
        for one in settings:
            one.allow_tf32 = False
        yield
    finally:
        for one, value in zip(settings, before, strict=True):
            one.allow_tf32 = value


class Operands(TorchDispatchMode):
    """In the block, what is multiplied in float32 is changed before."""

    def __init__(self, change: Callable[[Tensor], Tensor], places: Mapping[str, tuple[int, ...]] = OPERANDS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._change = change
        self._places = places
        self.products = 0
        """How many have been changed so far."""
        self.unfit = ""
        """The first operator that multiplies without being in `places`, or whose result jumps; empty if none was."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = func._schema.name.partition("::")
        places = self._places.get(name, ()) if space == "aten" else ()
        operands = [args[at] for at in places if at < len(args)]
        changes = bool(operands) and all(one.dtype is torch.float32 for one in operands)
        self.products += changes
        given = [self._change(one) if changes and at in places else one for at, one in enumerate(args)]
        result = func(*given, **(kwargs or {}))
        if not self.unfit and (space not in ("aten", "prims") or _is_unfit(name, operands, (args, kwargs), result)):
            self.unfit = name
        return result


def _is_unfit(name: str, operands: list[Tensor], given: Any, result: Any) -> bool:
    """Whether TF32 may do more to this operator than is done to the operands of products."""
    if operands:
        return any(one.is_complex() for one in operands)
    if _OTHER_PRODUCTS.search(name) or name.rstrip("_") in _JUMPS:
        return True
    return (
        any(isinstance(one, Tensor) and one.is_floating_point() for one in tree_leaves(given))
        and any(isinstance(one, Tensor) and _is_whole(one.dtype) for one in tree_leaves(result))
        and not _OWN_INTEGERS.search(name)
    )


def _is_whole(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex)


def cut_off(values: Tensor) -> Tensor:
    """Without the bits that TF32 does not have, as the first tensor cores read float32."""
    return _masked(values.contiguous().view(torch.int32))


def rounded_to_tf32(values: Tensor) -> Tensor:
    """The nearest numbers of TF32; of two, the one that is further from zero."""
    return _masked(values.contiguous().view(torch.int32) + 2 ** (_DROPPED - 1))


def _masked(bits: Tensor) -> Tensor:
    values: Tensor = (bits & -(2**_DROPPED)).view(torch.float32)
    return values
