"""Candidates for a published problem: its copy, compiled or not, and copies that are wrong in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from trial import Skipped

from pytest_kgate.problems.trees import tree

_OFF_BY = 3.0
"""A wrong weight is off by so many times its tensor's rms; in one of zeros, such as a new bias, by so much."""

_AT_ONCE = 2**24
"""Elements that are squared at a time: in float64, all of a tensor take twice its own memory, twice."""

_LAYERS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.ELU),
    *(nn.Mish, nn.Softplus, nn.Softmax, nn.Hardsigmoid, nn.Softsign, nn.SELU),
)
_FUNCTIONS = frozenset(
    getattr(place, name)
    for name in (
        *("relu", "relu_", "relu6", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardswish", "elu"),
        *("mish", "softplus", "softmax", "log_softmax", "hardsigmoid", "softsign", "selu", "clamp", "abs"),
    )
    for place in (torch, functional, Tensor)
    if hasattr(place, name)
)


def candidate_of(problem: Any, part: str, device: torch.device) -> Callable[..., Any]:
    """The candidate of one part of a sweep; raises `Skipped` where the problem has none."""
    copy = problem.copy()
    if part == "copy":
        return copy
    if part == "compile":
        model = type(copy.on(device))
        return problem.candidate(lambda *arguments: torch.compile(model(*arguments)), "torch.compile")
    if part == "weight":
        return _wrong_weight(copy, device)
    return _without_activation(copy, device)


def _wrong_weight(copy: Any, device: torch.device) -> Callable[..., Any]:
    """One element of the last matrix of weights is off; of a model without weights, one of its last input."""
    model = copy.on(device)
    weights = [one for one in model.parameters() if one.numel() > 1]
    weights = [one for one in weights if one.dim() > 1] or weights
    if weights:
        _spoil(weights[-1].data)
        return copy

    def wrong_input(*inputs: Any) -> Any:
        values = [one for one in tree.tensors(inputs) if one.is_floating_point() and one.dim()]
        if not values:
            raise Skipped("it has neither weights nor floating-point inputs")
        spoilt = values[-1].clone(
            memory_format=torch.contiguous_format
        )  # the only copy: published inputs have up to 16 GiB
        _spoil(spoilt)
        return copy(*tree.mapped(inputs, lambda one: spoilt if one is values[-1] else one))

    return wrong_input


def _spoil(values: Tensor) -> None:
    flat = values.view(-1)
    squares = sum(float(part.double().square().sum()) for part in flat.split(_AT_ONCE))
    flat[flat.numel() // 2] += _OFF_BY * (math.sqrt(squares / flat.numel()) or 1.0)


def _without_activation(copy: Any, device: torch.device) -> Callable[..., Any]:
    """The first activation is left out: a layer, or a call of a function."""
    model = copy.on(device)
    for layer in model.modules():
        for name, one in layer.named_children():
            if isinstance(one, _LAYERS):
                setattr(layer, name, nn.Identity())
                return copy

    def skipping(*inputs: Any) -> Any:
        with _Skipping() as mode:
            answer = copy(*inputs)
        if not mode.skipped:
            raise Skipped("it has no activation")
        return answer

    return skipping


class _Skipping(TorchFunctionMode):
    """In the block, the first call of an activation returns what it was given."""

    skipped = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.skipped and func in _FUNCTIONS:
            self.skipped = True
            return args[0].clone()
        return func(*args, **(kwargs or {}))
