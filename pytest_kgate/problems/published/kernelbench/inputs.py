"""The inputs of a KernelBench problem: those of its `get_inputs`, and harder ones made of them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.hard_inputs import HardInputs
from pytest_kgate.problems.published.kernelbench.source import Source
from pytest_kgate.problems.trees import tree


class Inputs:
    """Draws the tensors of a problem's inputs; what else there is among them, such as a number, is a constant."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.constants: dict[int, Any] = {}
        """Inputs without a tensor in them, by their positions; known after the first draw."""
        self.harder = HardInputs()

    def draw(self, generator: Generator) -> tuple[Any, ...]:
        """Inputs as published, on the generator's device, by a seed that is drawn from it."""
        device = generator.device
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        drawn = self._source.called("get_inputs", seed, device)
        if not isinstance(drawn, (list, tuple)):
            raise UsageError(
                f"get_inputs() of {self._source.path} returned {type(drawn).__name__}, not a list.",
                "It returns the arguments of forward, by position.",
            )
        self.constants = {place: one for place, one in enumerate(drawn) if next(tree.tensors(one), None) is None}
        return tuple(_moved(one, device) for place, one in enumerate(drawn) if place not in self.constants)

    def draw_hard(self, generator: Generator, model: Callable[..., Any]) -> tuple[Any, ...]:
        """Draw inputs, made harder as far as `model` has a finite answer to them."""
        return self.harder(self.draw(generator), generator, model)


def with_constants(tensors: tuple[Any, ...], constants: Mapping[int, Any]) -> list[Any]:
    """All arguments of `forward`: the drawn ones with the constants in their places."""
    rest = iter(tensors)
    return [constants[at] if at in constants else next(rest) for at in range(len(tensors) + len(constants))]


def _moved(one: Any, device: torch.device) -> Any:
    """On the device also where the file makes it from what has none, such as an array of NumPy."""
    return one.to(device) if isinstance(one, Tensor) else one
