"""Why a torch.nn.Module may be wrong without a wrong kernel: other weights than the reference's, or training mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import nn

_ROUNDED = 0.1
"""Of the norm of a weight, up to which another may be the same, rounded: 8 bits with 3 of mantissa take some 3 %."""

_COMPILED = "_orig_mod."
"""In names of weights, where torch.compile has wrapped the module."""

_TRAINED = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)
"""Layers that do something else in training mode."""


def why_wrong(candidate: Callable[..., Any], reference: object) -> dict[str, list[str]]:
    """What explains a wrong answer of a module, under its names in records; empty where nothing does."""
    found = {"other_weights": _other_weights(candidate, reference), "training": trained_layers(candidate)}
    return {name: names for name, names in found.items() if names}


def _other_weights(candidate: Callable[..., Any], reference: object) -> list[str]:
    """The weights of a module whose values are not those of the reference's of the same name and shape."""
    own, theirs = _weights(candidate), _weights(reference)
    return [name for name, value in own.items() if name in theirs and _differ(value, theirs[name])]


def trained_layers(candidate: Callable[..., Any]) -> list[str]:
    """The kinds of layers of a module that are in training mode, and then do something else."""
    if not isinstance(candidate, nn.Module):
        return []
    kinds = (type(one).__name__ for one in candidate.modules() if isinstance(one, _TRAINED) and one.training)
    return list(dict.fromkeys(kinds))


def _weights(module: object) -> dict[str, Tensor]:
    if not isinstance(module, nn.Module):
        return {}
    found = (*module.named_parameters(), *module.named_buffers())
    return {name.replace(_COMPILED, ""): value for name, value in found if value.is_floating_point()}


def _differ(one: Tensor, other: Tensor) -> bool:
    if one is other or one.shape != other.shape:
        return False
    with torch.no_grad():
        here = one.to(other.device, torch.float32)
        apart = (here - other.float()).norm()
        return bool(apart > _ROUNDED * other.float().norm())
