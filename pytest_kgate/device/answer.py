"""Answers, a tensor or a tree of some: memory filled with NaN before a call, and the demands on what it returns.

An answer must be data, not an object that computes when it is looked at, and memory that was never written must not
pass for one.
"""

from __future__ import annotations

import ctypes
import dataclasses
import warnings
from collections.abc import Callable
from collections.abc import Container
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import blamed
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import OtherKind
from pytest_kgate.errors import in_place_says_so
from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.foreign import said_by
from pytest_kgate.problems.trees.genuine import demand_known_array
from pytest_kgate.problems.trees.genuine import demand_nothing_hidden
from pytest_kgate.problems.trees.instead import built_otherwise
from pytest_kgate.problems.trees.instead import indefinite
from pytest_kgate.problems.trees.instead import instead_of
from pytest_kgate.problems.trees.instead import is_array

_NAN_OF_ONES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""Types of which a number with all bits set is NaN."""

_PLAIN = (Tensor, torch.nn.Parameter)

_READY = frozenset({Tensor, np.ndarray, type(None)})
"""Types of results that hold their values when the call returns."""


def poison(answer: Any) -> Any:
    """Fill its tensors with NaN (the largest value, for integers), so that what is never written shows.

    On the host by this thread alone, as in `tree.write_span`: PyTorch's workers would spin on into what is timed next.
    """
    for tensor in tree.tensors(answer):
        plain = tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel()
        if tensor.dtype in _NAN_OF_ONES and plain:
            ctypes.memset(tensor.data_ptr(), 0xFF, tensor.nbytes)
        elif tensor.is_floating_point() or tensor.is_complex():
            tensor.fill_(float("nan"))
        else:
            tensor.fill_(True if tensor.dtype is torch.bool else torch.iinfo(tensor.dtype).max)
    return answer


def outputs_of(answer: Any) -> dict[str, Any]:
    """What an answer holds, in order, by names: `output`, `output 1`, `output lse`, `input 0`.

    None is no output.
    """
    if type(answer) is InPlace:  # `isinstance` asks an object what it calls its class
        roots = {"output": answer.returned, **{f"input {place}": one for place, one in answer.changed.items()}}
    else:
        roots = {"output": answer}
    return {
        " ".join((root, *map(str, path))): leaf
        for root, its in roots.items()
        for path, leaf in structure.paths(its).items()
        if leaf is not None
    }


def title_of(name: str, like: Any) -> str:
    """How one of the outputs of `like` is told of: `output 1 (lse)` where it is a named tuple's field."""
    trees = (like.returned, *like.changed.values()) if isinstance(like, InPlace) else (like,)
    fields = (field for one in trees for field, leaf in structure.fields(one) if leaf is not None)
    field = dict(zip(outputs_of(like), fields, strict=True))[name]
    return f"{name} ({field})" if field else name


def as_answer(result: object, like: Any, inputs: tuple[Any, ...]) -> Any:
    """The answer that the candidate returned, built like `like`, or `CandidateError` saying what is wrong with it.

    The tensors of `like` have the shapes, dtypes and devices that those of the answer must have.
    """
    if result is None:
        raise CandidateError("The candidate returned nothing.", _asked(like))
    _demand_readable(result)
    wanted, found = outputs_of(like), outputs_of(result)
    if found.keys() != wanted.keys():
        returned = result.returned if type(result) is InPlace else result
        raise OtherKind(*built_otherwise(returned, found, wanted, in_place=type(result) is InPlace))
    changed = like.changed if isinstance(like, InPlace) else {}
    made = iter([_as_output(name, found[name], one, inputs, changed) for name, one in wanted.items()])
    return structure.mapped(like, lambda leaf: None if leaf is None else next(made))


def _asked(like: Any) -> str:
    """What is to be returned, as advice: it need not be shaped like any input."""
    wanted = [f"shape {tuple(one.shape)} and dtype {one.dtype}" for one in outputs_of(like).values()]
    return f"Return a tensor of {', and one of '.join(wanted)}."


def _as_output(name: str, result: Any, like: Tensor, inputs: tuple[Any, ...], changed: Container[int] = ()) -> Tensor:
    """One tensor of an answer; `changed` has the positions of the inputs that a call changes."""
    if not issubclass(type(result), Tensor):
        if not is_array(result):
            raise CandidateError(
                f"The candidate returned {indefinite(type(result).__name__)}, not a tensor"
                + (f", as its {name}." if name != "output" else "."),
                instead_of(result),
            )
        result = _array_as_tensor(result)
    assert isinstance(result, Tensor)
    if result.is_nested or result.is_quantized:
        raise CandidateError(
            f"The candidate returned a {'nested' if result.is_nested else 'quantised'} tensor as its {name}.",
            "Return dense tensors, such as the values of it.",
        )
    for what, got, wanted in (
        ("shape", tuple(result.shape), tuple(like.shape)),
        ("dtype", result.dtype, like.dtype),
        ("device", result.device, like.device),
    ):
        if got != wanted:
            raise OtherKind(
                f"The candidate's {name} has {what} {got}, but the problem asks for {wanted}.",
                f"Return it on {wanted}." if what == "device" else _asked(like),
            )
    demand_data(result)
    for position, one in enumerate(inputs):
        if name.split(" ")[:2] == ["input", str(position)]:
            continue  # it is changed in place
        if any(_overlap(result, tensor) for tensor in tree.tensors(one) if tree.has_span(tensor)):
            raise CandidateError(
                f"The candidate's {name} shares memory with its input {position}.",
                "That input is compared as it is changed. Return it itself, or a copy of what is in it: result.clone()."
                if position in changed
                else "Return memory of its own, such as result.clone(): answers are overwritten between calls, and the "
                f"inputs must stay as they are. {in_place_says_so(position)}",
            )
    return result


def tensors_of(result: Any) -> dict[str, Tensor]:
    """Tensors by name, in the memory of all outputs of an answer; `as_answer` must have seen its like."""
    return {name: _tensor_of(one) for name, one in outputs_of(result).items()}


def copied(result: Any) -> Any:
    """An answer that `as_answer` has seen the like of, each output copied to memory of its own."""
    return _mapped(result, lambda one: None if one is None else _tensor_of(one).clone())


def _mapped(result: Any, change: Callable[[Any], Any]) -> Any:
    """The answer with each output changed, in tuples and dicts alone: no class of its own builds what it holds."""
    if type(result) is not InPlace:
        return structure.mapped(structure.held(result), change)
    return InPlace(
        _mapped(result.returned, change), {place: _mapped(one, change) for place, one in result.changed.items()}
    )


def _tensor_of(result: Any) -> Tensor:
    """A tensor in the memory of an output that `as_answer` has seen the like of; no stream waits for another by it.

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
        return result if _holds_values(result) else _with_values(arm.name, result)

    return dataclasses.replace(arm, call=call)


def _holds_values(result: Any) -> bool:
    """Whether an answer is of PyTorch's and NumPy's own types; quick, since it is a part of each timed call.

    Tuples and dicts are read by Python's own functions, whatever their class makes of these.
    """
    kind = type(result)
    if kind in _READY or issubclass(kind, Tensor):
        return True
    if kind is InPlace:
        return _holds_values(result.returned)
    if kind in structure.DICTS:
        return all(map(_holds_values, kind.values(result)))
    return issubclass(kind, (tuple, list)) and all(map(_holds_values, structure.in_order(result)))


def _with_values(name: str, result: Any) -> Any:
    """The answer of the arm of this name, once all of its outputs hold their values."""
    if structure.computes(result) is not None:
        return result  # it is refused, and not to be read
    if structure.opened(result) is not None:
        return _mapped(result, lambda one: one if _holds_values(one) else _with_values(name, one))
    if hasattr(kind := type(result), "block_until_ready"):
        try:
            kind.block_until_ready(result)  # its class's, which the array may hide
        except Exception as error:  # what it computes may fail only now
            raise blamed(f"The {name}", CALL_CONVENTION, error) from error
    elif is_array(result):
        return _array_as_tensor(result)
    return result


def _array_as_tensor(result: Any) -> Tensor:
    """Raises `CandidateError` for an array that is none of a known library, or whose memory can't be shared."""
    demand_data(result)
    try:
        tensor = _tensor_of(result)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise CandidateError(
            f"The candidate returned a {type(result).__name__} that can't be read as a tensor: {said_by(error)}.",
            "Return a torch tensor, or an array laid out as one can be: np.ascontiguousarray(result, np.float32).",
        ) from None
    return tensor


def demand_data(result: Any) -> None:
    """Raise `CandidateError` for an object that may compute when it is read, instead of holding values already.

    That is a tensor subclass, a tensor without memory, or an array that is of none of the libraries known here. Of
    several outputs each is looked at.
    """
    _demand_readable(result)
    if type(result) is InPlace or structure.opened(result) is not None:
        for one in outputs_of(result).values():
            demand_data(one)
        return
    if not issubclass(type(result), Tensor):
        demand_known_array(result)
        return
    if type(result) not in _PLAIN:
        raise CandidateError(
            f"The candidate returned a {type(result).__name__}, a subclass of Tensor, whose methods may compute when "
            "it is read.",
            "Return a plain tensor: result.as_subclass(torch.Tensor), once its values are there.",
        )
    demand_nothing_hidden(result)
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


def _demand_readable(result: object) -> None:
    """Raise `CandidateError` where several outputs come in something that may compute them when it is read."""
    try:
        kind = structure.computes(result)
    except RecursionError:
        said = f"The candidate returned {indefinite(type(result).__name__)} that contains itself, or is too deep."
        raise CandidateError(said, "Return the outputs in a tuple, a list or a dict of a few levels.") from None
    if kind is not None:
        raise CandidateError(
            f"The candidate returned {indefinite(kind.__name__)}, which may compute what it holds when it is read.",
            "Return several outputs in a tuple, a list, a dict or a plain dataclass.",
        )


def _overlap(a: Tensor, b: Tensor) -> bool:
    if not (a.numel() and b.numel()) or a.device != b.device:
        return False
    apart = b.data_ptr() - a.data_ptr()
    return -tree.storage_span(b).nbytes < apart < tree.storage_span(a).nbytes
