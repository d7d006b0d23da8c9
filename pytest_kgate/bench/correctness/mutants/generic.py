"""The mutants that fit any operator: kernels that are wrong in one known way, made from the operator's reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.mutants.mutant import Mutant
from pytest_kgate.bench.correctness.mutants.transforms import CHANGES
from pytest_kgate.bench.correctness.mutants.transforms import Change
from pytest_kgate.bench.correctness.mutants.transforms import changed
from pytest_kgate.bench.correctness.mutants.transforms import coarse_outputs
from pytest_kgate.bench.correctness.mutants.transforms import constant
from pytest_kgate.bench.correctness.mutants.transforms import zeros
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.problems.rounding.coarser import COARSER
from pytest_kgate.problems.rounding.coarser import name_of
from pytest_kgate.problems.rounding.coarser import rounded
from pytest_kgate.problems.trees import tree

Right = Callable[[tuple[Any, ...]], Any]
"""A function from a call's inputs to the reference's answer: a tensor, or a tree of some."""


def generic_mutants(right: Right, like: Any) -> list[Mutant]:
    """All mutants that make sense for answers that are built like `like`; `right` answers as the reference does.

    The one that returns stale memory comes first: after the others it would find the right answer to the same inputs in
    freed memory, which a candidate that runs alone never does.
    """
    mutants = [
        Mutant("stale memory", lambda inputs: tree.mapped(like, torch.empty_like), idle=True),
        Mutant("zeros", lambda inputs: tree.mapped(like, zeros), idle=True),
        Mutant("one number everywhere", _first_time(_changed(right, _constant)), idle=True),
        Mutant("a remembered answer", _first_time(right), idle=True),
        Mutant("the answer before", _one_behind(right), idle=True),
        Mutant("right for one seed", _right_once(right)),
        Mutant("its input as the answer", lambda inputs: _as_answer(inputs, like)),
        Mutant("changes its inputs", _changing(right)),
    ]
    outputs = outputs_of(like)
    for number, (output, one) in enumerate(outputs.items()):
        where = f" ({output})" if len(outputs) > 1 else ""
        if not one.numel():
            continue
        ways = {name: _applied(change) for name, change in {**CHANGES, **coarse_outputs(one.dtype)}.items()}
        if one.is_floating_point() or one.is_complex():
            ways["one NaN"] = _one_nan
        mutants += [Mutant(f"{name}{where}", _changed(right, way, number)) for name, way in ways.items()]
    coarser = {low: None for one in outputs.values() for low in COARSER.get(one.dtype, ())}
    return mutants + [Mutant(f"inputs in {name_of(low)}", _coarse_inputs(right, low)) for low in coarser]


def _first_time(function: Right) -> Right:
    kept: list[Any] = []

    def call(inputs: tuple[Any, ...]) -> Any:
        if not kept:
            kept.append(tree.clone(function(inputs)))
        return tree.clone(kept[0])

    return call


def _one_behind(right: Right) -> Right:
    kept: list[Any] = []

    def call(inputs: tuple[Any, ...]) -> Any:
        kept.append(tree.clone(right(inputs)))
        return kept.pop(0) if len(kept) > 1 else tree.clone(kept[0])

    return call


def _right_once(right: Right) -> Right:
    calls: list[bool] = []

    def call(inputs: tuple[Any, ...]) -> Any:
        calls.append(True)
        answer = right(inputs)
        return answer if len(calls) == 1 else tree.mapped(answer, torch.zeros_like)

    return call


def _as_answer(inputs: tuple[Any, ...], like: Any) -> Any:
    """The first input itself where it can be an answer, else as much of it as fits; the same for each output."""

    def fitted(output: Tensor) -> Tensor:
        tensor = next(tree.tensors(inputs), torch.zeros_like(output))
        if tensor.shape == output.shape and tensor.dtype == output.dtype:
            return tensor
        values = tensor.flatten()[: output.numel()].to(output.dtype)
        answer = torch.zeros_like(output).flatten()
        answer[: values.numel()] = values
        return answer.reshape(output.shape)

    return tree.mapped(like, fitted)


def _changing(right: Right) -> Right:
    def call(inputs: tuple[Any, ...]) -> Any:
        answer = tree.clone(right(inputs))
        for tensor in tree.tensors(inputs):
            if tensor.numel():
                last = (-1,) * tensor.dim()
                tensor[last] = (tensor[last] == 0).to(tensor.dtype)
        return answer

    return call


def _applied(change: Change) -> Callable[[Tensor], Tensor]:
    return lambda answer: changed(answer, change)


def _constant(answer: Tensor) -> Tensor:
    return constant(answer.__getitem__, answer)


def _changed(right: Right, change: Callable[[Tensor], Tensor], output: int | None = None) -> Right:
    """The right answer with one output changed, by number, or all."""

    def call(inputs: tuple[Any, ...]) -> Any:
        numbers = itertools.count()
        return tree.mapped(right(inputs), lambda one: change(one) if output in (None, next(numbers)) else one)

    return call


def _one_nan(answer: Tensor) -> Tensor:
    answer = answer.clone().contiguous()
    answer.view(-1)[-1:] = float("nan")
    return answer


def _coarse_inputs(right: Right, low: torch.dtype) -> Right:
    return lambda inputs: right(tree.mapped(inputs, lambda tensor: rounded(tensor, low)))
