"""What attention of 8-bit elements has of its own: inputs, references, the exact answer, mutants, tolerances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.eight_bits.dequantised import OnDequantised
from pytest_kgate.problems.attention.eight_bits.dequantised import values_of
from pytest_kgate.problems.attention.eight_bits.draws import draw_eight_bits
from pytest_kgate.problems.attention.eight_bits.mutants import eight_bit_mutants
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.shape import Shape

EIGHT_BITS = "float8_e4m3fn"

TOLERANCE = (0.06, 2.0**-4, 9.0)
"""By the size of an answer's elements and the reference's rms error. A weight in 8 bits is off by up to 2^-4 of itself;
docs/oracle.md has the measurements behind the factor."""


def demand_taken(shape: Shape, outputs: str) -> None:
    """Raises `UsageError` for what there is not of 8-bit elements."""
    found = [name for name in ("window", "softcap", "bias") if getattr(shape, name) is not None]
    if shape.causal and shape.seqlen > shape.keys:
        found.append("rows without a key")
    if found or outputs != "o":
        raise UsageError(
            f"Attention of {EIGHT_BITS} has no {', '.join(found) or f'outputs {outputs!r}'}.",
            "Choose another dtype, or leave it out.",
        )


def on_dequantised(references: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """References of 16 bits, as those of the same values in 8 bits."""
    return {name: OnDequantised(one) for name, one in references.items()}


def eight_bit_parts(shape: Shape) -> dict[str, Any]:
    """The fields of a problem in which it differs from others of the shape."""
    return {
        "inputs": functools.partial(draw_eight_bits, shape, False),
        "hard_inputs": functools.partial(draw_eight_bits, shape, True),
        "exact": exact_eight_bits,
        "mutants": eight_bit_mutants(shape),
        "tolerance": MappingProxyType({"bfloat16": TOLERANCE}),
    }


def exact_eight_bits(*inputs: Any, is_causal: bool = False, scale: float | None = None) -> Any:
    """Attention in float64 of elements times the scales of their heads, from the inputs of a candidate."""
    return exact_attention(*values_of(inputs, torch.float64), is_causal=is_causal, scale=scale)
