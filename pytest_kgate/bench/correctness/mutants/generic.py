"""The mutants that fit any operator: kernels that are wrong in one known way, made from the operator's reference."""

from __future__ import annotations

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
from pytest_kgate.problems import tree
from pytest_kgate.problems.rounding import COARSER
from pytest_kgate.problems.rounding import name_of
from pytest_kgate.problems.rounding import rounded

Right = Callable[[tuple[Any, ...]], Tensor]
"""A function from a call's inputs to the reference's answer."""


def generic_mutants(right: Right, like: Tensor) -> list[Mutant]:
    """All mutants that make sense for outputs of the shape and dtype of `like`; `right` answers as the reference does.

    The one that returns stale memory comes first: after the others it would find the right answer to the same inputs in
    freed memory, which a candidate that runs alone never does.
    """
    mutants = [
        Mutant("stale memory", lambda inputs: torch.empty_like(like), idle=True),
        Mutant("zeros", lambda inputs: zeros(like), idle=True),
        Mutant("one number everywhere", _first_time(_constant_of(right)), idle=True),
        Mutant("a remembered answer", _first_time(right), idle=True),
        Mutant("the answer before", _one_behind(right), idle=True),
        Mutant("right for one seed", _right_once(right)),
        Mutant("its input as the answer", lambda inputs: _as_answer(inputs, like)),
        Mutant("changes its inputs", _changing(right)),
    ]
    changes = {**CHANGES, **coarse_outputs(like.dtype)}
    mutants += [Mutant(name, _changing_answers(right, change)) for name, change in changes.items()]
    if like.is_floating_point() or like.is_complex():
        mutants.append(Mutant("one NaN", lambda inputs: _one_nan(right(inputs))))
        mutants += [
            Mutant(f"inputs in {name_of(low)}", _coarse_inputs(right, low)) for low in COARSER.get(like.dtype, ())
        ]
    return mutants


def _first_time(function: Right) -> Right:
    kept: list[Tensor] = []

    def call(inputs: tuple[Any, ...]) -> Tensor:
        if not kept:
            kept.append(function(inputs))
        return kept[0].clone()

    return call


def _one_behind(right: Right) -> Right:
    kept: list[Tensor] = []

    def call(inputs: tuple[Any, ...]) -> Tensor:
        kept.append(right(inputs))
        return kept.pop(0) if len(kept) > 1 else kept[0].clone()

    return call


def _right_once(right: Right) -> Right:
    calls: list[bool] = []

    def call(inputs: tuple[Any, ...]) -> Tensor:
        calls.append(True)
        answer = right(inputs)
        return answer if len(calls) == 1 else torch.zeros_like(answer)

    return call


def _as_answer(inputs: tuple[Any, ...], like: Tensor) -> Tensor:
    """The first input itself where it can be an answer, else as much of it as fits."""
    tensor = next(tree.tensors(inputs), torch.zeros_like(like))
    if tensor.shape == like.shape and tensor.dtype == like.dtype:
        return tensor
    values = tensor.flatten()[: like.numel()].to(like.dtype)
    answer = torch.zeros_like(like).flatten()
    answer[: values.numel()] = values
    return answer.reshape(like.shape)


def _changing(right: Right) -> Right:
    def call(inputs: tuple[Any, ...]) -> Tensor:
        answer = right(inputs).clone()
        for tensor in tree.tensors(inputs):
            if tensor.numel():
                last = (-1,) * tensor.dim()
                tensor[last] = (tensor[last] == 0).to(tensor.dtype)
        return answer

    return call


def _changing_answers(right: Right, change: Change) -> Right:
    return lambda inputs: changed(right(inputs), change)


def _constant_of(right: Right) -> Right:
    def call(inputs: tuple[Any, ...]) -> Tensor:
        answer = right(inputs)
        return constant(answer.__getitem__, answer)

    return call


def _one_nan(answer: Tensor) -> Tensor:
    answer = answer.clone().contiguous()
    answer.view(-1)[-1:] = float("nan")
    return answer


def _coarse_inputs(right: Right, low: torch.dtype) -> Right:
    return lambda inputs: right(tree.mapped(inputs, lambda tensor: rounded(tensor, low)))
