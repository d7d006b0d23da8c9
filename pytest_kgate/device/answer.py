"""Output tensors: memory filled with NaN before a candidate's call, and the demands on what it returns.

An answer must be data, not an object that computes when it is looked at, and memory that was never written must not
pass for one.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import blamed
from pytest_kgate.errors import CandidateError

_PLAIN = (Tensor, torch.nn.Parameter)

_READY = frozenset({Tensor, np.ndarray, type(None)})
"""Types of results that hold their values when the call returns."""

_ARRAYS = frozenset({"numpy", "cupy", "jax", "jaxlib", "warp", "tensorflow", "mlx", "paddle", "dpctl", "numba"})
"""Libraries whose arrays hold values already, or finish them in the stream, when DLPack asks for them."""


def poison(tensor: Tensor) -> Tensor:
    """Fill with NaN (the largest value, for integers), so that what is never written shows."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.fill_(float("nan"))
    return tensor.fill_(True if tensor.dtype is torch.bool else torch.iinfo(tensor.dtype).max)


def as_answer(result: object, like: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    """The tensor that the candidate returned, or `CandidateError` saying what is wrong with it.

    `like` has the shape, dtype and device that the answer must have.
    """
    if result is None:
        raise CandidateError(
            "The candidate returned nothing.",
            "Return the output tensor, or take a parameter `out` and write to it. What works in place is "
            "raced with a copy in both arms: def f(x): y = x.clone(); kernel(y); return y.",
        )
    if not isinstance(result, Tensor):
        if not hasattr(result, "__dlpack__"):
            raise CandidateError(
                f"The candidate returned {_indefinite(type(result).__name__)}, not a tensor.",
                "Return a torch tensor, or an array that supports DLPack. Of several, wrap the candidate: "
                "lambda *inputs: kernel(*inputs)[0].",
            )
        result = _array_as_tensor(result)
    for what, got, wanted in (
        ("shape", tuple(result.shape), tuple(like.shape)),
        ("dtype", result.dtype, like.dtype),
        ("device", result.device, like.device),
    ):
        if got != wanted:
            raise CandidateError(
                f"The candidate's output has {what} {got}, but the problem asks for {wanted}.",
                "Allocate the output like the first input, or take a parameter `out`, which is allocated right.",
            )
    demand_data(result)
    for position, tensor in enumerate(inputs):
        if isinstance(tensor, Tensor) and _overlap(result, tensor):
            raise CandidateError(
                f"The candidate's output shares memory with its input {position}.",
                "Write to memory of its own: the inputs must stay as they are.",
            )
    return result


def tensor_of(result: Any) -> Tensor:
    """A tensor in the memory of an answer that `as_answer` has seen the like of; no stream waits for another by it.

    DLPack lets the current stream wait for the one that CuPy believes in, which may be neither the one that the array
    was written on nor one that may be waited for while a graph is captured. The CUDA array interface has no such wait.
    """
    if isinstance(result, Tensor):
        return result
    if isinstance(result, np.ndarray):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an array that may only be read, and is
            return torch.from_numpy(result)  # where strides are negative, DLPack ends the process
    if hasattr(result, "__cuda_array_interface__"):
        return torch.as_tensor(result, device="cuda")
    return torch.utils.dlpack.from_dlpack(result)


def finished(arm: Arm) -> Arm:
    """The arm on a host device: a call is over when the array that it returned has its values.

    Some libraries compute on after the call has returned. JAX's arrays say when they are done (`block_until_ready`),
    others wait when DLPack asks for their memory; the clock is read after that.
    """

    def call(inputs: tuple[Any, ...], output: Any) -> Any:
        result = arm.call(inputs, output)
        kind = type(result)
        if kind in _READY or isinstance(result, Tensor):
            return result
        if hasattr(kind, "block_until_ready"):
            try:
                result.block_until_ready()
            except Exception as error:  # what it computes may fail only now
                raise blamed(f"The {arm.name}", CALL_CONVENTION, error) from error
        elif hasattr(kind, "__dlpack__"):
            return _array_as_tensor(result)
        return result

    return dataclasses.replace(arm, call=call)


def _array_as_tensor(result: Any) -> Tensor:
    """Raises `CandidateError` for an array that is none of a known library, or whose memory can't be shared."""
    demand_data(result)
    try:
        tensor = tensor_of(result)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise CandidateError(
            f"The candidate returned a {type(result).__name__} that can't be read as a tensor: {error}.",
            "Return a writable array of numbers, or a torch tensor.",
        ) from None
    return tensor


def demand_data(result: Any) -> None:
    """Raise `CandidateError` for an object that may compute when it is read, instead of holding values already.

    That is a tensor subclass, a tensor without memory, or an array that is of none of the libraries known here.
    """
    if not isinstance(result, Tensor):
        _demand_known_array(type(result))
        return
    if type(result) not in _PLAIN:
        raise CandidateError(
            f"The candidate returned a {type(result).__name__}, a subclass of Tensor, whose methods may compute when "
            "it is read.",
            "Return a plain tensor: result.as_subclass(torch.Tensor), once its values are there.",
        )
    if result.layout is not torch.strided or result.is_meta or result._is_zerotensor():
        raise CandidateError(
            "The candidate returned a tensor without memory of its own (sparse, meta or an implied zero).",
            "Return a dense tensor with its values in memory.",
        )
    if result.is_conj() or result.is_neg():
        raise CandidateError(
            "The candidate returned a tensor with a pending conjugation or negation.",
            "Return result.resolve_conj().resolve_neg().",
        )
    if result.numel() and result.untyped_storage().data_ptr() == 0:
        raise CandidateError("The candidate returned a tensor without memory.", "Return a tensor that owns its values.")


def _demand_known_array(kind: type) -> None:
    module = sys.modules.get(kind.__module__.partition(".")[0])
    home = sys.modules.get(kind.__module__)
    genuine = module is not None and getattr(home, kind.__name__, None) is kind
    if kind.__module__.partition(".")[0] not in _ARRAYS or not genuine:
        raise CandidateError(
            f"The candidate returned a {kind.__name__}, whose __dlpack__ may compute when it is read.",
            "Return a torch tensor, or an array of a library such as CuPy or JAX.",
        )


def _overlap(a: Tensor, b: Tensor) -> bool:
    if not (a.numel() and b.numel()) or a.device != b.device:
        return False
    start_a, start_b = a.data_ptr(), b.data_ptr()
    return start_a < start_b + _extent_bytes(b) and start_b < start_a + _extent_bytes(a)


def _extent_bytes(tensor: Tensor) -> int:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _indefinite(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
