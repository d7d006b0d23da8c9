"""How functions of flashinfer-bench are called: with all inputs by position, and the outputs where they take them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.exact import device_of


@dataclass(frozen=True)
class OutputSpec:
    """One output as a workload has it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


class FunctionCall:
    """Calls a reference or a solution, without gradients; the answer is a tensor, or a tuple in the definition's order.

    A function in destination-passing style is handed new tensors for its outputs behind the inputs.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: int,
        outputs: tuple[OutputSpec, ...],
        *,
        name: str,
        destinations: bool | None = None,
        held_to: str | None = None,
    ) -> None:
        """`inputs` is how many; `destinations` says whether it takes the outputs, None that its parameters tell.
        `held_to` names the definition that the first answer is held to, of a reference.
        """
        self._function = function
        self._outputs = outputs
        self._held_to = held_to
        self.name = self.__name__ = name
        self.destinations = _takes(function, inputs, len(outputs)) if destinations is None else destinations
        """Whether the outputs are handed in."""

    def __call__(self, *inputs: Any) -> Any:
        with torch.no_grad():
            if not self.destinations:
                found = self._ordered(self._function(*inputs))
                if self._held_to is not None:
                    self._demand_as_said(found, self._held_to)
                    self._held_to = None
                return found
            device = device_of(inputs)
            made = [torch.empty(one.shape, dtype=one.dtype, device=device) for one in self._outputs]
            self._function(*inputs, *made)
            return made[0] if len(made) == 1 else tuple(made)

    def _demand_as_said(self, found: Any, definition: str) -> None:
        for one, spec in zip(found if isinstance(found, tuple) else (found,), self._outputs, strict=False):
            told = (tuple(getattr(one, "shape", ())), getattr(one, "dtype", type(one)))
            if told != (spec.shape, spec.dtype):
                raise UsageError(
                    f"The reference of {definition} returned {spec.name} as {told[1]} of {told[0]}, and the definition "
                    f"says {spec.dtype} of {spec.shape}.",
                    "Correct one of the two.",
                )

    def _ordered(self, found: Any) -> Any:
        """What was returned, a dict by the definition's names; what is built otherwise stays as it is."""
        if isinstance(found, Mapping):
            missing = [one.name for one in self._outputs if one.name not in found]
            if missing:
                raise TypeError(f"{self.name} returned no output {missing[0]}, but {', '.join(map(str, found))}")
            found = tuple(found[one.name] for one in self._outputs)
        if isinstance(found, (tuple, list)):
            if len(found) != len(self._outputs):
                names = ", ".join(one.name for one in self._outputs)
                raise TypeError(f"{self.name} returned {len(found)} outputs, not {names}")
            several = tuple(_tensor(value, one) for value, one in zip(found, self._outputs, strict=True))
            return several[0] if len(several) == 1 else several
        return _tensor(found, self._outputs[0]) if len(self._outputs) == 1 else found


def _tensor(value: Any, spec: OutputSpec) -> Any:
    return torch.tensor(value, dtype=spec.dtype) if isinstance(value, (bool, int, float)) else value


def _takes(function: Callable[..., Any], inputs: int, outputs: int) -> bool:
    """Whether a function takes the outputs behind the inputs, and can't be called without them."""
    return not binds(function, inputs) and binds(function, inputs + outputs)


def binds(function: Callable[..., Any], count: int) -> bool:
    """Whether a function takes so many arguments by position; one in C, which does not tell, takes any."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
