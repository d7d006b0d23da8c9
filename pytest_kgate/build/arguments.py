"""What a kernel is called with, where that is more than plain attention or wrong: checked, and put into numbers."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.build.library import Beyond
from pytest_kgate.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype

_SHAPES = (
    "q and out are (batch, heads, seqlen, head_dim), k and v (batch, kv_heads, kv_seqlen, head_dim), all of one dtype "
    "and device."
)

_NO_STRIDES: tuple[int, ...] = (0, 0, 0)

_MOST = 2**31 - 1
"""That a field of 32 bits holds: a window of so many keys is one of all keys."""


class Checker:
    """The demands of one kernel on its arguments."""

    def __init__(self, name: str, device_type: str, dtypes: tuple[dtype, ...]) -> None:
        self._name = name
        self._device_type = device_type
        self._dtypes = dtypes

    def outputs_and_beyond(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        window: int | None,
        softcap: float | None,
        return_lse: bool,
        out: Any,
        scales: tuple[Tensor | None, ...],
    ) -> tuple[Tensor, Tensor | None, Beyond]:
        """The output, the tensor for the log-sum-exp where that is asked for, and what is not plain.

        Raises `UsageError` for the first thing that is wrong. `out` is what the caller gave: None, a tensor, or with
        `return_lse` a pair of them. `scales` are what `scales` returns, which must live until the call is enqueued.
        """
        import torch

        if window is not None and not (_is_number(window, numbers.Integral) and window >= 1):
            raise self._wrong(f"window is {window!r}.", "Pass a number of keys, 1 or more, or None.")
        if softcap is not None and not (_is_number(softcap, numbers.Real) and 1e-30 <= softcap <= 1e30):
            raise self._wrong(f"softcap is {softcap!r}.", "Pass a positive number, from 1e-30 to 1e30, or None.")
        o, lse = self._outputs(q, return_lse, out)
        kv_heads, kv_seqlen = k.shape[1:3]
        if lse is None and return_lse:
            lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
        bias_strides = _NO_STRIDES if bias is None else self._bias_strides(bias, q, kv_seqlen)
        lse_strides = _NO_STRIDES if lse is None else lse.stride()
        bias_at, lse_at, *scales_at = (0 if one is None else one.data_ptr() for one in (bias, lse, *scales))
        seen = min(int(window or 0), _MOST)
        cap = float(softcap or 0.0)
        return o, lse, Beyond(kv_heads, kv_seqlen, seen, cap, bias_at, bias_strides, lse_at, lse_strides, *scales_at)

    def scales(self, q: Tensor, k: Tensor, v: Tensor, given: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        """The scales of q, k and v, a number for each head; one for all heads is repeated, in memory of its own.

        Checks q, k and v as well. Raises `UsageError` for the first thing that is wrong.
        """
        import torch

        self._check_inputs(q, k, v)
        found: list[Tensor | None] = []
        for name, scale, tensor in zip(("q_scale", "k_scale", "v_scale"), given, (q, k, v), strict=True):
            if scale is not None and q.dtype != torch.float8_e4m3fn:
                raise self._wrong(f"{name} is given, but q.dtype is {q.dtype}.", "Only float8_e4m3fn has scales.")
            heads = tensor.shape[1]
            if scale is not None and not (
                isinstance(scale, torch.Tensor)
                and (scale.dtype, scale.device) == (torch.float32, q.device)
                and scale.shape in ((heads,), (1,))
            ):
                raise self._wrong(
                    f"{name} is {_described(scale)}.",
                    f"It is a float32 tensor on {q.device} of {heads} numbers, one a head, or of one for all.",
                )
            found.append(None if scale is None else scale.expand(heads).contiguous())
        return tuple(found)

    def _check_inputs(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        named = {"q": q, "k": k, "v": v}
        for name, tensor in named.items():
            self._check_tensor(name, tensor, q)
        for name, first, axes in (("k", "q", (0, 3)), ("v", "k", (0, 1, 2, 3))):
            mine, its = tuple(named[name].shape), tuple(named[first].shape)
            if any(mine[axis] != its[axis] for axis in axes):
                raise self._wrong(f"{name}.shape is {mine}, but {first}.shape is {its}.", _SHAPES)
        heads, kv_heads = q.shape[1], k.shape[1]
        if kv_heads and heads % kv_heads:
            raise self._wrong(
                f"q has {heads} heads, k and v have {kv_heads}.",
                "Each head of k and v serves as many of q: make the one number a multiple of the other.",
            )

    def _check_tensor(self, name: str, tensor: Any, q: Tensor, dtype: dtype | None = None) -> None:
        """What holds for each of `q`, `k`, `v` and the outputs; `dtype` is the output's, where it is not q's."""
        import torch

        if not isinstance(tensor, torch.Tensor):
            raise self._wrong(f"{name} is of type {type(tensor).__name__}, not a tensor.", _SHAPES)
        if tensor.device.type != self._device_type:
            wants = "CUDA tensors" if self._device_type == "cuda" else "CPU tensors"
            raise UsageError(
                f"{self._name} takes {wants}; {name} is on {tensor.device}.",
                f"Make the tensors on a {self._device_type} device, or choose a kernel for this one.",
            )
        if tensor.dim() != 4:
            raise self._wrong(f"{name} has the shape {tuple(tensor.shape)}, {tensor.dim()} dimensions.", _SHAPES)
        if dtype is not None and tensor.dtype != dtype:
            raise self._wrong(f"{name}.dtype is {tensor.dtype}.", f"It is {dtype} where q is {q.dtype}.")
        for trait in ("dtype", "device") if dtype is None else ("device",):
            mine, first = getattr(tensor, trait), getattr(q, trait)
            if mine != first:
                raise self._wrong(f"{name}.{trait} is {mine}, but q.{trait} is {first}.", _SHAPES)
        if tensor.dtype not in self._dtypes:
            known = ", ".join(str(one).removeprefix("torch.") for one in self._dtypes)
            todo = f"Kernels take {known}, few of them all of these."
            raise self._wrong(f"{name} has the dtype {tensor.dtype}.", todo)
        if tensor.stride(3) != 1 and tensor.shape[3] > 1:
            raise self._wrong(
                f"the last dimension of {name} is not contiguous (stride {tensor.stride()}).",
                f"Pass {'torch.empty_like(q)' if name == 'out' else name + '.contiguous()'}.",
            )

    def _outputs(self, q: Tensor, return_lse: bool, out: Any) -> tuple[Tensor, Tensor | None]:
        """Those that the caller gave, checked; a new output where it gave none."""
        import torch

        lse = None
        if return_lse and out is not None:
            if not isinstance(out, tuple | list) or len(out) != 2:
                raise self._wrong(f"out is of type {type(out).__name__}.", "With return_lse, pass a pair (out, lse).")
            out, lse = out
        dtype = torch.bfloat16 if q.dtype == torch.float8_e4m3fn else None
        o = torch.empty_like(q, dtype=dtype) if out is None else out
        self._check_tensor("out", o, q, dtype)
        if o.shape != q.shape:
            raise self._wrong(f"out.shape is {tuple(o.shape)}, but q.shape is {tuple(q.shape)}.", _SHAPES)
        if lse is not None and not (
            isinstance(lse, torch.Tensor)
            and (lse.shape, lse.dtype, lse.device) == (q.shape[:3], torch.float32, q.device)
        ):
            raise self._wrong(
                f"the second part of out is {_described(lse)}.",
                f"The log-sum-exp is a float32 tensor of shape {tuple(q.shape[:3])} on {q.device}.",
            )
        return o, lse

    def _bias_strides(self, bias: Any, q: Tensor, kv_seqlen: int) -> tuple[int, ...]:
        import torch

        full = (*q.shape[:3], kv_seqlen)
        if (
            not isinstance(bias, torch.Tensor)
            or bias.dim() != 4
            or any(mine not in (1, its) for mine, its in zip(bias.shape, full, strict=True))
            or bias.shape[3] != kv_seqlen
            or (bias.dtype, bias.device) != (q.dtype, q.device)
        ):
            raise self._wrong(
                f"bias is {_described(bias)}.",
                f"It is a {q.dtype} tensor on {q.device} of shape {full} (batch, heads, seqlen, kv_seqlen), of which "
                f"the first three may be 1.",
            )
        if bias.stride(3) != 1 and kv_seqlen > 1:
            raise self._wrong(
                f"the last dimension of bias is not contiguous (stride {bias.stride()}).", "Pass bias.contiguous()."
            )
        return tuple(0 if extent == 1 else step for extent, step in zip(bias.shape[:3], bias.stride(), strict=False))

    def _wrong(self, what: str, todo: str) -> UsageError:
        return UsageError(f"{self._name}: {what}", todo)


def _described(value: Any) -> str:
    """For an error: a tensor by its dtype, shape and device."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return f"of type {type(value).__name__}"
    return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
