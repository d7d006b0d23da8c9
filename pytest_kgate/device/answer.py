"""Whether an answer is data, and not an object that computes when it is looked at."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.errors import CandidateError

_PLAIN = (Tensor, torch.nn.Parameter)

_ARRAYS = frozenset({"numpy", "cupy", "jax", "jaxlib", "warp", "tensorflow", "mlx", "paddle", "dpctl", "numba"})
"""Libraries whose arrays hold values already, or finish them in the stream, when DLPack asks for them."""


def demand_data(result: Any) -> None:
    """Raise `CandidateError` for a tensor subclass, a tensor without memory, or an array of a class nobody knows."""
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
