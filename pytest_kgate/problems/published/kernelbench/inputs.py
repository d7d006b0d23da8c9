"""The inputs of a KernelBench problem: those of its `get_inputs`, and harder ones made of them.

Most problems draw from [0, 1). There a ReLU does nothing, and a kernel without it would pass: so every second draw of a
check has values of both signs, and larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.kernelbench.seeding import seeded
from pytest_kgate.problems.published.kernelbench.source import Source
from pytest_kgate.problems.trees import tree

_LARGER = 8.0
"""Values from [0, 1) then cross every bend of the usual activations: -3 and 3 of hardswish, 0 and 6 of ReLU6."""

_SCALES = (_LARGER, 1.0)
"""Of hard draws, tried in this order."""


class Inputs:
    """Draws the tensors of a problem's inputs; what else there is among them, such as a number, is a constant."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.constants: dict[int, Any] = {}
        """Inputs without a tensor in them, by their positions; known after the first draw."""
        self.hard_scale: float | None = None
        """What hard draws are scaled by, besides their signs; 0 where the model has no answer to such inputs, and the
        published ones stand for them; None before the first hard draw."""

    def draw(self, generator: Generator) -> tuple[Any, ...]:
        """Inputs as published, on the generator's device, by a seed that is drawn from it."""
        device = generator.device
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        with seeded(seed, device):
            drawn = self._source.get_inputs()
        if not isinstance(drawn, (list, tuple)):
            raise UsageError(
                f"get_inputs() of {self._source.path} returned {type(drawn).__name__}, not a list.",
                "It returns the arguments of forward, by position.",
            )
        self.constants = {place: one for place, one in enumerate(drawn) if next(tree.tensors(one), None) is None}
        return tuple(_moved(one, device) for place, one in enumerate(drawn) if place not in self.constants)

    def draw_hard(self, generator: Generator, model: Callable[..., Any]) -> tuple[Any, ...]:
        """Such inputs with signs by row and column and a larger scale, if `model` has a finite answer to them."""
        drawn = self.draw(generator)
        if self.hard_scale is None:
            self.hard_scale = next((scale for scale in _SCALES if _has_answer(model, drawn, generator, scale)), 0.0)
        return _harder(drawn, generator, self.hard_scale) if self.hard_scale else drawn


def with_constants(tensors: tuple[Any, ...], constants: Mapping[int, Any]) -> list[Any]:
    """All arguments of `forward`: the drawn ones with the constants in their places."""
    rest = iter(tensors)
    return [constants[at] if at in constants else next(rest) for at in range(len(tensors) + len(constants))]


def _moved(one: Any, device: torch.device) -> Any:
    """On the device also where the file makes it from what has none, such as an array of NumPy."""
    return one.to(device) if isinstance(one, Tensor) else one


def _has_answer(model: Callable[..., Any], drawn: tuple[Any, ...], generator: Generator, scale: float) -> bool:
    """Whether a model's answer to harder inputs is finite; the generator draws the same inputs again afterwards."""
    state = generator.get_state()
    harder = _harder(drawn, generator, scale)
    generator.set_state(state)
    answers = list(tree.tensors(model(*harder)))
    published = list(tree.tensors(model(*drawn)))
    return all(bool((one.isfinite() | ~other.isfinite()).all()) for one, other in zip(answers, published, strict=True))


def _harder(drawn: tuple[Any, ...], generator: Generator, scale: float) -> tuple[Any, ...]:
    return tuple(_signed(one, generator, scale) if isinstance(one, Tensor) else one for one in drawn)


def _signed(values: Tensor, generator: Generator, scale: float) -> Tensor:
    """The values times a random sign for each index of each dimension; of a square matrix's rows and columns the same.

    A symmetric, triangular or diagonal matrix stays one. Whole numbers (labels, masks) and probabilities stay as they
    are, as what they mean would be lost.
    """
    if not values.is_floating_point() or values.numel() < 2 or _whole(values) or _probabilities(values):
        return values
    signed, extents = values * scale, values.shape
    for place, extent in enumerate(extents):
        square = place and place == len(extents) - 1 and extent == extents[-2]
        if not square:
            signs = torch.randint(2, (extent,), generator=generator, device=values.device) * 2 - 1
        shape = [extent if other == place else 1 for other in range(len(extents))]
        signed *= signs.to(values.dtype).reshape(shape)
    return signed


def _whole(values: Tensor) -> bool:
    return bool((values == values.round()).all())


def _probabilities(values: Tensor) -> bool:
    sums = values.sum(-1)
    return bool((values >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
