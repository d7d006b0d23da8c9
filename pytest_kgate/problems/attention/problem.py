"""Scaled-dot-product attention as a problem: inputs, PyTorch's own attention as references, the exact answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.draws import draw
from pytest_kgate.problems.attention.eight_bits.parts import EIGHT_BITS
from pytest_kgate.problems.attention.eight_bits.parts import demand_taken
from pytest_kgate.problems.attention.eight_bits.parts import eight_bit_parts
from pytest_kgate.problems.attention.eight_bits.parts import on_dequantised
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.mutants.mutants import attention_mutants
from pytest_kgate.problems.attention.pytorch.backends import BACKENDS
from pytest_kgate.problems.attention.references import FLEX
from pytest_kgate.problems.attention.references import references_of
from pytest_kgate.problems.attention.smaller import smaller
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.rounding.tolerances import Tolerance
from pytest_kgate.problems.shape import Shape

DTYPES = ("float16", "bfloat16", "float32", EIGHT_BITS)

OUTPUTS = ("o", "o+lse")

LOG_SUM = "output 1"
"""The log-sum-exp's name among the outputs of `o+lse`."""

_LOG_SUM_TOLERANCE: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float16": (1e-3, 1e-4, math.inf),
        "bfloat16": (1e-2, 1e-3, math.inf),
        "float32": (1e-4, 2e-6, math.inf),
    }
)
"""Checked alone: a log-sum-exp that is off by d weighs its answer e^d times too much where it is merged with others,
which the inputs' type rounds by as much; docs/oracle.md has the measurements."""


def sdpa_problem(
    shape: Shape, dtype: str = "float16", backend: str | None = None, seed: int | None = None, outputs: str = "o"
) -> Problem:
    """Attention of this shape, against one of PyTorch's ways to compute it or the fastest.

    `dtype` is one of float16, bfloat16, float32, float8_e4m3fn; of the last, inputs are queries, keys, values, None,
    and the float32 scales of each head of the three, and the answer is in bfloat16. `backend` is one of flash, cudnn,
    efficient, math, flex, or `fastest` (also None): all that can compute the shape are tried on the device, and the
    fastest is raced against. `seed` replaces the session's. With `outputs="o+lse"` an answer is a tuple: what `"o"`
    alone is, and the log-sum-exp of the scores, natural, float32, `(batch, heads, seqlen)`. Raises `UsageError` where
    an argument makes no sense.
    """
    if not isinstance(shape, Shape):
        raise UsageError(
            f"Attention takes a Shape, got {shape!r}.",
            "Write Shape(batch, heads, seqlen, head_dim, causal=False).",
        )
    if dtype not in DTYPES:
        raise UsageError(f"Attention has no dtype {dtype!r}.", f"Write a name: {', '.join(map(repr, DTYPES))}.")
    if outputs not in OUTPUTS:
        raise UsageError(f"Attention has no outputs {outputs!r}.", f"Use one of {', '.join(OUTPUTS)}.")
    if dtype == EIGHT_BITS:
        demand_taken(shape, outputs)
    if backend not in (None, "fastest", *BACKENDS, FLEX):
        raise UsageError(
            f"There is no SDPA backend {backend!r}.", f"Use fastest or one of {', '.join((*BACKENDS, FLEX))}."
        )
    made = _made(shape, dtype, None if backend == "fastest" else backend, outputs)
    small = None if made.small is None else replace(made.small, seed=seed)
    assert isinstance(made.reference, Mapping)
    return replace(made, seed=seed, small=small, reference=dict(made.reference))


def arguments_of(problem: Problem) -> dict[str, Any] | None:
    """The arguments with which `sdpa_problem` makes the same functions, in types of JSON; None of another problem.

    The shape is given as `Shape`'s own arguments.
    """
    if problem.shape is None or problem.dtype not in DTYPES or not isinstance(problem.reference, Mapping):
        return None
    outputs = "o+lse" if problem.params.get("return_lse") else "o"
    for backend in (None, *problem.reference):
        if backend is not None and backend not in references_of(problem.shape, with_log_sum=outputs != "o"):
            return None
        made = _made(problem.shape, problem.dtype, backend, outputs)
        assert isinstance(made.reference, Mapping)
        functions = ("inputs", "hard_inputs", "exact", "equal")
        alike = all(getattr(problem, role) is getattr(made, role) for role in functions)
        if alike and all(made.reference.get(name) is one for name, one in problem.reference.items()):
            return {"shape": problem.shape.arguments(), "dtype": problem.dtype, "outputs": outputs}
    return None


@functools.cache
def _made(shape: Shape, dtype: str, backend: str | None, outputs: str) -> Problem:
    """One object for one problem, so that those who ask for it in several tests are known to mean the same."""
    element = getattr(torch, dtype)
    with_log_sum = outputs != "o"
    references = references_of(shape, with_log_sum=with_log_sum)
    if backend is not None and backend not in references:
        raise UsageError(
            f"Attention of {shape} is not raced against {backend}.", f"Use fastest or one of {', '.join(references)}."
        )
    small = smaller(shape)
    pairs = sum(len(shape.visible(row)) for row in range(shape.seqlen))
    params = {
        "is_causal": shape.causal,
        "window": shape.window,
        "softcap": shape.softcap,
        "scale": shape.scale,
        "return_lse": True if with_log_sum else None,
    }
    eight_bits = dtype == EIGHT_BITS
    if eight_bits:
        references = on_dequantised(references)
    made = Problem(
        name=f"{'sdpa with lse' if with_log_sum else 'sdpa'} {shape} {dtype}",
        inputs=functools.partial(draw, shape, element, False),
        hard_inputs=functools.partial(draw, shape, element, True),
        reference=references if backend is None else {backend: references[backend]},
        exact=exact_attention,
        mutants=attention_mutants(shape, element, log_sum=with_log_sum),
        params=MappingProxyType({name: value for name, value in params.items() if value is not None}),
        tolerance=MappingProxyType({LOG_SUM: _LOG_SUM_TOLERANCE[dtype]} if with_log_sum else {}),
        flops=4.0 * shape.batch * shape.heads * pairs * shape.head_dim,
        bytes=_bytes(shape, element, pairs) + (4.0 * shape.batch * shape.heads * shape.seqlen if with_log_sum else 0.0),
        shape=shape,
        dtype=dtype,
        small=None if small == shape else _made(small, dtype, backend, outputs),
    )
    return replace(made, **eight_bit_parts(shape)) if eight_bits else made


def _bytes(shape: Shape, element: torch.dtype, pairs: int) -> float:
    """Queries and the answer, and of keys, values and bias what some row sees: once, however many heads read it."""
    seen = [shape.visible(row) for row in range(shape.seqlen)]
    keys = max(one.stop for one in seen) - min(one.start for one in seen if one)
    elements = 2 * shape.batch * shape.head_dim * (shape.heads * shape.seqlen + shape.key_heads * keys)
    if shape.bias_extents is not None:
        elements += shape.bias_extents[0] * shape.bias_extents[1] * pairs
    answer = shape.batch * shape.heads * shape.seqlen * shape.head_dim if element.itemsize == 1 else 0  # of 16 bits
    return float(elements * element.itemsize + answer)
