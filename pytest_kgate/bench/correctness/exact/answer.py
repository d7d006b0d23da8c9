"""The exact answer of a problem: of a large one in pieces, so that what float64 takes besides it stays small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pytest_kgate.bench.correctness.comparison.slabs import give_back_freed
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.exact.rows import Rows
from pytest_kgate.bench.correctness.exact.rows import float64_bytes
from pytest_kgate.bench.correctness.exact.rows import rows_of
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.arm import blame_problem
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import spent

_LARGE_BYTES = 2**27
"""Of inputs and answer in float64. Up to this size an exact answer is made at once."""

_PIECE_BYTES = 2**26
_PIECES = 16
"""A piece is so many bytes in float64, or one of so many pieces: an exact answer's own intermediate results may be
several times that."""

_TRIMMED_BYTES = 2**24
"""Of an answer on the host, from which on what malloc has kept is given back before the exact one is made."""

_TRIALS = 3
"""The plan's draw, a normal one and a hard one. A trial may cost as much as the answer, and of a problem with few
parts, such as an attention's batches, it does."""

_READABLE = frozenset(
    {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32}
    | {torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex32, torch.complex64}
    | {torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz}
    | ({torch.float8_e8m0fnu} if hasattr(torch, "float8_e8m0fnu") else set())
)
"""Types of answers. Others, such as two numbers of 4 bits in a byte, have no arithmetic of their own."""

_FOUND: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""What trials have found, by what the answers of one call look like."""


def exact_answer(problem: Problem, inputs: tuple[Any, ...], like: Any = None) -> Any:
    """The exact answer at once, a tensor or a tree of some, on the host where the device has no room for it.

    `like` has the shapes and device that answers have, where that is known.
    """
    if sum(one.nbytes for one in tree.tensors(like) if one.device.type == "cpu") > _TRIMMED_BYTES:
        give_back_freed()
    try:
        return _call(problem, inputs)
    except torch.OutOfMemoryError:
        if all(tensor.device.type == "cpu" for tensor in tree.tensors(like)):
            raise
        torch.cuda.empty_cache()
        on_host = tree.mapped(inputs, lambda tensor: tensor.cpu())
        try:
            found = _call(problem, on_host)
        except Exception:  # it has tensors of its own on the GPU
            found = None
        if found is None:
            raise
        return found


def exact_by_rows(problem: Problem, inputs: tuple[Any, ...], like: Tensor) -> Tensor | None:
    """A large exact answer, made piece by piece; None where it is small, or its rows depend on each other.

    Where answers have 16 bits or fewer it is kept in float32, whose own rounding is 4,000 times finer than theirs.
    """
    size = float64_bytes(inputs, like)
    if size <= _LARGE_BYTES:
        return None
    rows = _rows(problem, inputs, like)
    if rows is None:
        return None
    try:
        return _made_by_rows(problem, inputs, like, rows, like.device)
    except torch.OutOfMemoryError:
        if like.device.type == "cpu":
            raise
    torch.cuda.empty_cache()
    return _made_by_rows(problem, inputs, like, rows, torch.device("cpu"))


def _rows(problem: Problem, inputs: tuple[Any, ...], like: Tensor) -> Rows | None:
    """How the exact answer can be cut; None where it can't, by a trial on any of a call's first draws.

    `like` stands for the call: it is one tensor for all of its draws.
    """
    found: list[Rows | None] = _FOUND.setdefault(like, [])
    if len(found) < _TRIALS and None not in found:
        found.append(rows_of(lambda some: _call(problem, some), inputs, like, problem.rows))
    return None if len(set(found)) > 1 else found[0]


def bytes_of_exact(problem: Problem, inputs: tuple[Any, ...], like: Any) -> tuple[int, int]:
    """What an exact answer takes where it is kept, and what computing a piece of it takes besides; lower bounds.

    What it takes besides where it is made at once is not known: 0.
    """
    if isinstance(like, Tensor):
        size = float64_bytes(inputs, like)
        if size > _LARGE_BYTES and _rows(problem, inputs, like) is not None:
            return like.numel() * _kept_type(_wide(like.dtype), like.dtype).itemsize, _piece_bytes(size)
    return sum(one.numel() * _wide(one.dtype).itemsize for one in tree.tensors(like)), 0


def _wide(dtype: torch.dtype) -> torch.dtype:
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else dtype


def _piece_bytes(size: int) -> int:
    return max(_PIECE_BYTES, size // _PIECES)


def _made_by_rows(
    problem: Problem, inputs: tuple[Any, ...], like: Tensor, rows: Rows, place: torch.device
) -> Tensor | None:
    """The exact answer, put together in memory of `place`."""
    size = float64_bytes(inputs, like)
    step = max(1, _piece_bytes(size) * rows.count // size)
    made: Tensor | None = None
    for start in range(0, rows.count, step):
        stop = min(rows.count, start + step)
        part = _call(problem, rows.of(inputs, start, stop))
        if made is None:
            made = torch.empty(like.shape, dtype=_kept_type(part.dtype, like.dtype), device=place)
        target = made.narrow(rows.axis, start, stop - start)
        _demand_shape(part, target, rows)
        target.copy_(part)
    return made


def _demand_shape(part: Tensor, target: Tensor, rows: Rows) -> None:
    if part.shape != target.shape:
        raise UsageError(
            f"The problem's exact returned shape {tuple(part.shape)} for {target.shape[rows.axis]} of its "
            f"{rows.count} rows, where {tuple(target.shape)} belongs.",
            "Leave Problem(rows=) out, or give rows=() where its rows can't be computed apart.",
        )


def in_smaller_type(exact: Tensor, answers: torch.dtype) -> Tensor:
    """An exact answer in the host's memory, in the type in which one to such answers is kept."""
    kept = torch.empty(exact.shape, dtype=_kept_type(exact.dtype, answers))
    for slab in slabs(exact.shape):
        kept[slab.index] = exact[slab.index].to("cpu", kept.dtype)
    return kept


def _kept_type(exact: torch.dtype, answers: torch.dtype) -> torch.dtype:
    if exact is torch.float64 and answers.is_floating_point and answers.itemsize <= 2:
        return torch.float32
    return exact


def _call(problem: Problem, inputs: tuple[Any, ...]) -> Any:
    with spent("exact"), blame_problem("The problem's exact", "it is called as exact(*inputs, **params)"):
        exact = problem.exact(*inputs, **problem.params)
    return tree.detached(demand_tensors("exact", exact))


def demand_tensors(role: str, result: Any) -> Any:
    """What a problem's function returned; raises `UsageError` where that is no dense tensor, nor a tree of some."""
    outputs = outputs_of(result)
    for name, one in outputs.items():
        if not isinstance(one, Tensor):
            raise UsageError(
                f"The problem's {role} returned {type(one).__name__}, not a tensor"
                + (f", as its {name}." if name != "output" else "."),
                "Return a torch tensor, or a tuple, list, dict or dataclass of some: torch.as_tensor(number) makes one "
                "of a number.",
            )
        if one.is_nested or one.layout is not torch.strided or one.is_meta or one.is_quantized:
            raise UsageError(
                f"The problem's {role} returned a sparse, nested or quantised tensor, or one without memory.",
                "Return dense tensors: result.to_dense(), result.dequantize(), or the parts of it that hold values.",
            )
        if one.dtype not in _READABLE:
            raise UsageError(
                f"The problem's {role} returned {dtype_name(one.dtype)}, in which PyTorch itself can "
                "neither fill nor compare tensors.",
                "Return its bytes, from reference, exact and candidate alike: result.view(torch.uint8).",
            )
    if not outputs:
        raise UsageError(
            f"The problem's {role} returned no tensor.",
            "Return the answer. What works in place says which inputs it changes: Problem(..., mutates=(0,)).",
        )
    return result
