"""A problem of KernelBench: a file with a class `Model`, and functions that make its inputs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

import torch
from torch import Generator

from pytest_kgate.problems.published.exact import ExactAnswerOf
from pytest_kgate.problems.published.kernelbench.inputs import Inputs
from pytest_kgate.problems.published.kernelbench.inputs import with_constants
from pytest_kgate.problems.published.kernelbench.model import WEIGHTS_SEED
from pytest_kgate.problems.published.kernelbench.model import ModelCall
from pytest_kgate.problems.published.kernelbench.model import widened
from pytest_kgate.problems.published.kernelbench.source import SOLUTION
from pytest_kgate.problems.published.kernelbench.source import Source
from pytest_kgate.problems.trees.foreign import name_of

if TYPE_CHECKING:
    from pytest_kgate.problems.published.kernelbench.facts import KernelBenchFacts
    from pytest_kgate.problems.published.published import Kind


class KernelBench:
    """What a problem's file becomes: inputs by seed, the model as reference and in float64, candidates like the model.

    Nothing is constructed before the first inputs say on which device.
    """

    entry = SOLUTION
    entry_is = f"class {SOLUTION}, which is constructed and called like Model"
    equal = None
    tolerance: Mapping[str, tuple[float, float]] = MappingProxyType({})

    def __init__(self, file: str | Path, constants: Mapping[int, Any] | None = None) -> None:
        """`constants` are the inputs that are no tensors, in a process that draws none; else the first draw tells.

        Imports the file. Raises `UsageError` where it is no KernelBench problem.
        """
        self._source = Source.read(Path(file).resolve())
        self._inputs = Inputs(self._source)
        self._inputs.constants = dict(constants or {})
        self.name = self._source.path.stem
        self.reference = ModelCall(self._source, self._source.model, self._constants, "Model")
        self.exact = ExactAnswerOf(self.reference, self._wide)

    @property
    def kind(self) -> Kind:
        """Its facts' name in records."""
        return "kernelbench"

    def inputs(self, generator: Generator) -> tuple[Any, ...]:
        """Draw the inputs as published, on the generator's device."""
        return self._inputs.draw(generator)

    def hard_inputs(self, generator: Generator) -> tuple[Any, ...]:
        """Draw inputs of the same shapes, with values of both signs."""
        return self._inputs.draw_hard(generator, self.reference)

    def candidate(self, construct: Callable[..., Any], name: str | None = None) -> ModelCall:
        """A candidate whose model is `construct(*get_init_inputs())`, with the reference's weights.

        `construct` is `ModelNew` of a solution, or any function that makes a module.
        """
        return ModelCall(self._source, construct, self._constants, name or name_of(construct), like=self.reference)

    def imported(self, where: str) -> None:
        """None: a solution is a module like any other."""

    def adapted(self, candidate: Callable[..., Any]) -> Callable[..., Any]:
        """The candidate as it is: an instance of a model, or a function that is called like `forward`."""
        return candidate

    def copy(self) -> ModelCall:
        """The model itself as a candidate: another instance, which is as fast and as right as the reference."""
        return self.candidate(self._source.model, "copy of Model")

    def to_dict(self) -> KernelBenchFacts:
        """For the record, in built-in types."""
        return {
            "file": self._source.path.name,
            "sha256": self._source.sha256,
            "weights_seed": WEIGHTS_SEED,
            "exact": self.exact.dtype,
            "hard_scale": self._inputs.harder.scale,
        }

    def to_message(self) -> dict[str, Any]:
        """The problem as a message, from which `from_message` makes it in another process; after the first draw."""
        constants = list(self._constants().items())
        return {"file": str(self._source.path), "constants": constants, "hard_scale": self._inputs.harder.scale}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> KernelBench:
        """The problem of which `to_message` told."""
        made = cls(message["file"], dict(message["constants"]))
        made._inputs.harder.scale = message["hard_scale"]
        return made

    def _wide(self, device: torch.device) -> Callable[..., Any]:
        made = self._source.construct(self._source.model, WEIGHTS_SEED, device)
        model = widened(self.reference, made, device)
        return lambda *inputs: model(*with_constants(inputs, self._constants()))

    def _constants(self) -> Mapping[int, Any]:
        return self._inputs.constants
