"""Harder inputs, made of those that a published problem draws.

Many published problems draw from [0, 1). There a ReLU does nothing, and a kernel without it would pass: so every second
draw of a check has values of both signs, and larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Generator
from torch import Tensor
from torch import allclose
from torch import ones_like
from torch import randint

from pytest_kgate.problems.trees import tree

_LARGER = 8.0
"""Values from [0, 1) then cross every bend of the usual activations: -3 and 3 of hardswish, 0 and 6 of ReLU6."""

_SCALES = (_LARGER, 1.0)
"""Tried in this order."""


class HardInputs:
    """Makes inputs harder, by signs of rows and columns and a scale, as far as a reference has finite answers then."""

    def __init__(self) -> None:
        self.scale: float | None = None
        """What values are multiplied by, besides their signs; 0 where the reference has no answer to such inputs, and
        the published ones stand for them; None before the first."""

    def __call__(self, drawn: tuple[Any, ...], generator: Generator, reference: Callable[..., Any]) -> tuple[Any, ...]:
        """Of these inputs, which were drawn with this generator."""
        if self.scale is None:
            self.scale = next((scale for scale in _SCALES if _has_answer(reference, drawn, generator, scale)), 0.0)
        return _harder(drawn, generator, self.scale) if self.scale else drawn


def _has_answer(reference: Callable[..., Any], drawn: tuple[Any, ...], generator: Generator, scale: float) -> bool:
    """Whether the answer to harder inputs is finite; the generator draws the same inputs again afterwards."""
    state = generator.get_state()
    harder = _harder(drawn, generator, scale)
    generator.set_state(state)
    answers = list(tree.tensors(reference(*harder)))
    published = list(tree.tensors(reference(*drawn)))
    return all(bool((one.isfinite() | ~other.isfinite()).all()) for one, other in zip(answers, published, strict=True))


def _harder(drawn: tuple[Any, ...], generator: Generator, scale: float) -> tuple[Any, ...]:
    return tuple(tree.mapped(one, lambda values: _signed(values, generator, scale)) for one in drawn)


def _signed(values: Tensor, generator: Generator, scale: float) -> Tensor:
    """The values times a random sign for each index of each dimension; of a square matrix's rows and columns the same.

    A symmetric, triangular or diagonal matrix stays one. Whole numbers (labels, masks) and probabilities stay as they
    are, as what they mean would be lost; so do numbers of 8 bits, which come with scales of their own.
    """
    if not values.is_floating_point() or values.itemsize == 1 or values.numel() < 2:
        return values
    if _whole(values) or _probabilities(values):
        return values
    signed, extents = values * scale, values.shape
    for place, extent in enumerate(extents):
        square = place and place == len(extents) - 1 and extent == extents[-2]
        if not square:
            signs = randint(2, (extent,), generator=generator, device=values.device) * 2 - 1
        shape = [extent if other == place else 1 for other in range(len(extents))]
        signed *= signs.to(values.dtype).reshape(shape)
    return signed


def _whole(values: Tensor) -> bool:
    return bool((values == values.round()).all())


def _probabilities(values: Tensor) -> bool:
    sums = values.sum(-1)
    return bool((values >= 0).all()) and allclose(sums, ones_like(sums), atol=1e-3)
