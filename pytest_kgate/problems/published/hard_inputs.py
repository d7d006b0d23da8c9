"""Harder inputs, made of those that a published problem draws.

Many published problems draw from [0, 1). There a ReLU does nothing, and a kernel without it would pass: so every second
draw of a check has values of both signs, and larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from typing import Any

from torch import Generator
from torch import OutOfMemoryError
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

    def __call__(
        self,
        drawn: tuple[Any, ...],
        generator: Generator,
        reference: Callable[..., Any],
        kept: Collection[int] = (),
    ) -> tuple[Any, ...]:
        """Of these inputs, which were drawn with this generator; those at the places `kept` stay as they are."""

        def harder(scale: float) -> tuple[Any, ...]:
            def signed(values: Tensor) -> Tensor:
                return _signed(values, generator, scale)

            return tuple(one if at in kept else tree.mapped(one, signed) for at, one in enumerate(drawn))

        if self.scale is None:
            state = generator.get_state()
            published = reference(*drawn)
            for scale in _SCALES:
                if _answers(reference, harder(scale), published):
                    self.scale = scale
                    break
                generator.set_state(state)
            else:
                self.scale = 0.0
            generator.set_state(state)
        return harder(self.scale) if self.scale else drawn


def _answers(reference: Callable[..., Any], inputs: tuple[Any, ...], other: Any) -> bool:
    """Whether there is an answer to these inputs, and it is finite wherever the other is."""
    try:
        answer = reference(*inputs)
    except OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError):  # it demands what they are not
        return False
    pairs = zip(tree.tensors(answer), tree.tensors(other), strict=True)
    return all(bool((_wide(one).isfinite() | ~_wide(two).isfinite()).all()) for one, two in pairs)


def _wide(values: Tensor) -> Tensor:
    return values if values.itemsize > 1 else values.float()  # 8-bit floats know no isfinite


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
