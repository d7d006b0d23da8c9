"""A problem of gpu-mode/reference-kernels: a folder with task.yml and reference.py, and one of its cases."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from torch import Generator

from pytest_kgate.problems.published.exact import ExactAnswerOf
from pytest_kgate.problems.published.task_folder.calls import InPlaceOnCopy
from pytest_kgate.problems.published.task_folder.calls import KernelCall
from pytest_kgate.problems.published.task_folder.checks import demand_of
from pytest_kgate.problems.published.task_folder.inputs import Inputs
from pytest_kgate.problems.published.task_folder.task import SUBMISSION
from pytest_kgate.problems.published.task_folder.task import Task
from pytest_kgate.problems.trees.foreign import name_of

if TYPE_CHECKING:
    from pytest_kgate.problems.published.published import Kind
    from pytest_kgate.problems.published.task_folder.facts import TaskFolderFacts


class TaskFolder:
    """What a task becomes: data by seed, its reference, that in float64, candidates like it, its own check."""

    entry = SUBMISSION
    entry_is = f"function {SUBMISSION}, which is called with the data"
    hard_inputs = None
    """What a task promises of its data (positive definite, within [0, 1]) is only in its text: its cases have to do."""

    def __init__(self, folder: str | Path, case: str | Mapping[str, Any], *, in_place: bool = False) -> None:
        """`in_place`: whether its kernels change their data besides the outputs.

        Imports its reference. Raises `UsageError` where it is no task, or has no such case.
        """
        self._task = Task.read(Path(folder).resolve(), case)
        self._case, self._in_place = case, in_place
        self._inputs = Inputs(self._task)
        arguments = " ".join(f"{name}={value}" for name, value in self._task.arguments.items())
        self.name = f"{self._task.folder.name} {arguments}".strip()
        held_to = None if in_place else self._task.folder.name
        self.reference = KernelCall(self._task.ref_kernel, self._inputs, name="ref_kernel", held_to=held_to)
        computes = InPlaceOnCopy(self.reference) if in_place else self.reference
        self.exact = ExactAnswerOf(computes, lambda device: computes)
        self._demand = demand_of(self._task.check_implementation, self._inputs)
        self.equal = self._demand.equal
        self.tolerance = self._demand.tolerance

    @property
    def kind(self) -> Kind:
        """Its facts' name in records."""
        return "task_folder"

    def inputs(self, generator: Generator) -> tuple[Any, ...]:
        """The data, on the generator's device."""
        return self._inputs.draw(generator)

    def imported(self, where: str) -> Any:
        """A submission, which finds `task` and `utils` as it does there; None for a module that is named."""
        path = Path(where)
        return self._task.modules.execute(path) if path.suffix == ".py" else None

    def candidate(self, function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """A function of the data, with the outputs in it, that returns its answer or nothing."""
        if isinstance(function, KernelCall):
            return function
        return KernelCall(function, self._inputs, name=name or name_of(function))

    def adapted(self, candidate: Callable[..., Any]) -> Callable[..., Any]:
        """The callable as a candidate that the task's data can be handed to."""
        return self.candidate(candidate) if callable(candidate) else candidate

    def copy(self) -> KernelCall:
        """The reference itself as a candidate."""
        return KernelCall(self._task.ref_kernel, self._inputs, name="copy of ref_kernel")

    def to_dict(self) -> TaskFolderFacts:
        """For the record, in built-in types."""
        handed_in = self._inputs.handed_in
        return {
            "folder": self._task.folder.name,
            "sha256": self._task.sha256,
            "case": self._task.case,
            "arguments": dict(self._task.arguments),
            "check": self._demand.said,
            "handed_in": None if handed_in is None else len(handed_in),
            "exact": self.exact.dtype,
        }

    def to_message(self) -> dict[str, Any]:
        """The problem as a message, from which `from_message` makes it in another process."""
        return {
            "file": str(self._task.folder / "reference.py"),
            "folder": str(self._task.folder),
            "case": self._case if isinstance(self._case, str) else dict(self._case),
            "in_place": self._in_place,
            "handed_in": self._inputs.to_message(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> TaskFolder:
        """The problem of which `to_message` told."""
        made = cls(message["folder"], message["case"], in_place=message["in_place"])
        made._inputs.take(message["handed_in"])
        return made
