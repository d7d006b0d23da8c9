"""What all problems have that were read from files of another project, and how one is made again in another process."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import Protocol

if TYPE_CHECKING:
    from torch import Generator

Kind = Literal["kernelbench", "flashinfer_bench", "task_folder"]
"""Whose problem it is; the name of its facts in records."""

_CLASSES: dict[str, str] = {
    "kernelbench": "pytest_kgate.problems.published.kernelbench.kernelbench:KernelBench",
    "flashinfer_bench": "pytest_kgate.problems.published.flashinfer_bench.flashinfer_bench:FlashInferBench",
    "task_folder": "pytest_kgate.problems.published.task_folder.task_folder:TaskFolder",
}
"""Module and class by kind; imported where one is wanted, since all need PyTorch."""


class Published(Protocol):
    """What files of another project become: inputs by seed, a reference, an exact answer, and candidates like it."""

    name: str
    """The problem's, as tables show it."""

    entry: str
    """The name that a candidate has in its file, where none is given."""

    entry_is: str
    """What a candidate's file must define by that name, as the end of a sentence."""

    @property
    def kind(self) -> Kind:
        """The name under which records have these facts."""

    @property
    def inputs(self) -> Callable[[Generator], tuple[Any, ...]]:
        """The function that draws the published inputs by seed, on the generator's device."""

    @property
    def hard_inputs(self) -> Callable[[Generator], tuple[Any, ...]] | None:
        """The function that draws inputs of the same shapes on which wrong kernels show; None where there is none."""

    @property
    def reference(self) -> Callable[..., Any]:
        """What the candidate must beat."""

    @property
    def exact(self) -> Callable[..., Any]:
        """The answer in float64, where that can be had."""

    @property
    def equal(self) -> Callable[..., Any] | None:
        """A check of the problem's own, in place of a comparison with the exact answer."""

    @property
    def tolerance(self) -> Mapping[str, tuple[float, float]]:
        """The problem's own tolerances; empty where the reference's error decides."""

    def imported(self, where: str) -> Any:
        """A candidate's file, imported as its project imports it; None where that is like any other."""

    def candidate(self, function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """A candidate that the problem's inputs can be handed to, of what a candidate's file defines."""

    def adapted(self, candidate: Callable[..., Any]) -> Callable[..., Any]:
        """As `candidate`, of a callable that was given itself, not by the name of its file."""

    def copy(self) -> Callable[..., Any]:
        """The reference itself as a candidate, which is as fast and as right."""

    def to_dict(self) -> Mapping[str, Any]:
        """For the record, in built-in types."""

    def to_message(self) -> dict[str, Any]:
        """The problem as a message, from which `made_of` makes it in another process; after the first draw."""


def made_of(kind: str, message: Mapping[str, Any]) -> Published:
    """Make the problem again from what `to_message` told, in another process."""
    module, _, name = _CLASSES[kind].partition(":")
    made: Published = getattr(importlib.import_module(module), name).from_message(message)
    return made
