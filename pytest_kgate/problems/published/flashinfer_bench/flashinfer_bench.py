"""A problem of flashinfer-bench: a definition, and one of its workloads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

from torch import Generator

from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.exact import ExactAnswerOf
from pytest_kgate.problems.published.flashinfer_bench.calls import FunctionCall
from pytest_kgate.problems.published.flashinfer_bench.calls import OutputSpec
from pytest_kgate.problems.published.flashinfer_bench.calls import binds
from pytest_kgate.problems.published.flashinfer_bench.definition import RUN
from pytest_kgate.problems.published.flashinfer_bench.definition import Definition
from pytest_kgate.problems.published.flashinfer_bench.inputs import Inputs
from pytest_kgate.problems.published.flashinfer_bench.inputs import dtype_of
from pytest_kgate.problems.published.flashinfer_bench.solution import Solution
from pytest_kgate.problems.published.flashinfer_bench.workload import Workload
from pytest_kgate.problems.published.modules import Modules
from pytest_kgate.problems.trees.foreign import class_and_text
from pytest_kgate.problems.trees.foreign import name_of

if TYPE_CHECKING:
    from pytest_kgate.problems.published.flashinfer_bench.facts import FlashInferBenchFacts
    from pytest_kgate.problems.published.published import Kind


class FlashInferBench:
    """What a definition and a workload become: inputs by seed, the reference, it in float64, candidates like it."""

    entry = RUN
    entry_is = f"function {RUN}, which is called with all inputs"
    equal = None
    tolerance: Mapping[str, tuple[float, float]] = MappingProxyType({})

    def __init__(self, definition: Definition, workload: Workload, root: Path, file: str | None) -> None:
        """Executes the reference's source; raises `UsageError` where that, or a recorded input, is not to be had."""
        self._definition, self._workload, self._root, self._file = definition, workload, root, file
        self._inputs = Inputs(definition, workload, root)
        self._outputs = tuple(OutputSpec(one.name, workload.shape(one), dtype_of(one)) for one in definition.outputs)
        varying = [name for name, extent in definition.axes.items() if extent is None]
        extents = " ".join(f"{name}={workload.axes[name]}" for name in varying)
        self.name = f"{definition.name} {extents}".strip()
        self._run = _run_of(definition)
        self.reference = self._call(self._run, RUN, destinations=False, held_to=definition.name)
        self.exact = ExactAnswerOf(self.reference, lambda device: self.reference)

    @classmethod
    def read(
        cls,
        definition: str | Path | Mapping[str, Any],
        workload: str | Path | Mapping[str, Any],
        case: int | str,
        root: str | Path | None,
    ) -> FlashInferBench:
        """Read files, or what `json` made of them; raises `UsageError` in a sentence."""
        read = Definition.read(definition)
        file = None if isinstance(definition, Mapping) else str(Path(definition).resolve())
        found = Workload.read(workload, case, read)
        where = _root(workload) if root is None else Path(root)
        return cls(read, found, where.resolve(), file)

    @property
    def kind(self) -> Kind:
        """Its facts' name in records."""
        return "flashinfer_bench"

    def inputs(self, generator: Generator) -> tuple[Any, ...]:
        """Draw the inputs in the definition's order, on the generator's device."""
        return self._inputs.draw(generator)

    def hard_inputs(self, generator: Generator) -> tuple[Any, ...]:
        """Draw inputs of the same shapes, the random ones larger."""
        return self._inputs.draw_hard(generator, self.reference)

    def imported(self, where: str) -> Any:
        """A solution's JSON file as a module; None for a file of Python, which is like any other."""
        if not where.endswith(".json"):
            return None
        solution = Solution.read(Path(where))
        if solution.definition != self._definition.name:
            raise CandidateError(
                f"The solution {solution.name} is of {solution.definition}, not of {self._definition.name}.",
                "Give the two that belong.",
            )
        module = ModuleType(solution.name)
        called = self._call(solution.load(), solution.name, solution.destinations)
        setattr(module, RUN, called)
        return module

    def candidate(self, function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """A function of all inputs that returns the outputs, or takes them behind the inputs and fills them."""
        if isinstance(function, FunctionCall):
            return function
        return self._call(function, name or name_of(function))

    def adapted(self, candidate: Callable[..., Any]) -> Callable[..., Any]:
        """The candidate that gets outputs to write to, if the callable takes them; else the callable as it is."""
        if not callable(candidate):
            return candidate
        made = self.candidate(candidate)
        return made if isinstance(made, FunctionCall) and made.destinations else candidate

    def copy(self) -> FunctionCall:
        """The reference itself as a candidate."""
        return self._call(self._run, "copy of run", destinations=False)

    def to_dict(self) -> FlashInferBenchFacts:
        """For the record, in built-in types."""
        text = json.dumps(dict(self._definition.data), sort_keys=True)
        return {
            "definition": self._definition.name,
            "op_type": self._definition.op_type,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "workload": self._workload.uuid,
            "axes": dict(self._workload.axes),
            "sources": {name: str(source["type"]) for name, source in self._workload.inputs.items()},
            "exact": self.exact.dtype,
            "hard_scale": self._inputs.harder.scale,
        }

    def to_message(self) -> dict[str, Any]:
        """The problem as a message, from which `from_message` makes it in another process; after the first draw."""
        return {
            "file": self._file,
            "definition": dict(self._definition.data),
            "workload": dict(self._workload.data),
            "root": str(self._root),
            "hard_scale": self._inputs.harder.scale,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> FlashInferBench:
        """The problem of which `to_message` told."""
        made = cls.read(message["definition"], message["workload"], 0, message["root"])
        made._inputs.harder.scale = message["hard_scale"]
        return made

    def _call(
        self, function: Callable[..., Any], name: str, destinations: bool | None = None, held_to: str | None = None
    ) -> FunctionCall:
        count = len(self._definition.inputs)
        return FunctionCall(function, count, self._outputs, name=name, destinations=destinations, held_to=held_to)


def _root(workload: str | Path | Mapping[str, Any]) -> Path:
    """The folder of a trace set, which has a folder `workloads`; that of the file where there is none."""
    if isinstance(workload, Mapping):
        return Path.cwd()
    path = Path(workload).resolve()
    return next((one.parent for one in path.parents if one.name == "workloads"), path.parent)


def _run_of(definition: Definition) -> Callable[..., Any]:
    name = definition.name
    try:
        module = Modules({}).defined("reference", definition.reference, f"<reference of {name}>")
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"The reference of {name} can't be imported: {class_and_text(error)}.",
            "Install what it needs, or correct it.",
        ) from error
    found: Callable[..., Any] = getattr(module, RUN)
    names = ", ".join(one.name for one in definition.inputs)
    if not binds(found, len(definition.inputs)):
        raise UsageError(
            f"The reference of {name} can't be called with the definition's inputs ({names}).",
            f"{RUN} takes them by position, in that order.",
        )
    return found
