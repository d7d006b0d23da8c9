"""How a candidate is called: which keywords it takes, whether it writes to `out` or returns, what it returned."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import torch.utils.dlpack
from torch import Tensor

from pytest_kgate.device.answer import demand_data
from pytest_kgate.device.host import refused_memory
from pytest_kgate.device.protocol import Arm
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError


def bind(role: str, function: Callable[..., Any], params: Mapping[str, Any]) -> Arm:
    """Make an arm of any callable.

    The problem's params are passed by keyword, those that the callable names (all of them where its signature can't
    be read, or takes `**kwargs`). A parameter called `out` receives a tensor to write to.
    """
    if not callable(function):
        raise UsageError(
            f"The {role} is not callable: got {type(function).__name__}.",
            "Pass a function, or a kernel made by the `kernels` fixture.",
        )
    names = _parameter_names(function)
    keywords = dict(params) if names is None else {name: value for name, value in params.items() if name in names}
    takes_output = names is not None and "out" in names

    if takes_output:

        def call(inputs: tuple[Any, ...], output: Any) -> Any:
            result = function(*inputs, out=output, **keywords)
            return output if result is None else result

    else:

        def call(inputs: tuple[Any, ...], output: Any) -> Any:
            return function(*inputs, **keywords)

    return Arm(role, call, takes_output)


def ignored_params(function: Callable[..., Any], params: Mapping[str, Any]) -> list[str]:
    """Those of the problem's params that the callable does not take, so that it is called without them."""
    names = _parameter_names(function)
    return [] if names is None else [name for name in params if name not in names]


@contextlib.contextmanager
def blame(whose: str, called: str) -> Iterator[None]:
    """Whatever a user's function raises in the block becomes a `CandidateError` that names it, its cause attached.

    `called` says how the function is called. A GPU's lack of memory passes: the device explains it.
    """
    try:
        yield
    except (CandidateError, torch.OutOfMemoryError):
        raise
    except KgateError as error:  # of a kernel that does not take these inputs
        raise CandidateError(error.what, error.todo) from None
    except Exception as error:
        raise blamed(whose, called, error) from error


def blamed(whose: str, called: str, error: Exception) -> CandidateError:
    """The error that says so."""
    refused = refused_memory(error)
    if refused:
        return CandidateError(f"{whose} ran out of host memory: {refused}.", "Use a smaller shape, or allocate less.")
    message = str(error).rstrip(".") or "no message"
    return CandidateError(f"{whose} raised {type(error).__name__}: {message}.", f"The traceback follows; {called}.")


def raised_in_call(error: BaseException) -> bool:
    """Whether the error came out of an arm's callable, and is not the plugin's own."""
    return any(frame.f_code.co_filename == __file__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _parameter_names(function: Callable[..., Any]) -> frozenset[str] | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None  # a builtin
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in by_name)


def as_answer(result: object, like: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    """The tensor that the candidate returned, or `CandidateError` saying what is wrong with it.

    `like` has the shape, dtype and device that the answer must have.
    """
    if result is None:
        raise CandidateError(
            "The candidate returned nothing.",
            "Return the output tensor, or take a parameter `out` and write to it.",
        )
    if not isinstance(result, Tensor):
        if not hasattr(result, "__dlpack__"):
            raise CandidateError(
                f"The candidate returned {_indefinite(type(result).__name__)}, not a tensor.",
                "Return a torch tensor, or an array that supports DLPack.",
            )
        demand_data(result)
        result = torch.utils.dlpack.from_dlpack(result)
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
