"""How the kernels of a task are called: with its data, in which the outputs are new memory in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.task_folder.inputs import Inputs
from pytest_kgate.problems.trees import tree


class KernelCall:
    """Calls a reference or a submission without gradients; where it returns nothing, the outputs handed in count."""

    def __init__(self, function: Callable[..., Any], inputs: Inputs, *, name: str, held_to: str | None = None) -> None:
        """`held_to` names the task, of a reference whose first call must not change the data."""
        self._function = function
        self._inputs = inputs
        self._held_to = held_to
        self.name = self.__name__ = name

    def __call__(self, data: Any) -> Any:
        with torch.no_grad():
            before = None if self._held_to is None else tree.copy(data)
            whole = self._inputs.with_outputs(data)
            answer = self._function(whole)
            if self._held_to is not None:
                _demand_unchanged(data, before, self._held_to)
                self._held_to = None
            return self._inputs.outputs_of(whole) if answer is None and self._inputs.handed_in else answer


def _demand_unchanged(data: Any, before: Any, task: str) -> None:
    if not tree.same(data, before):
        raise UsageError(
            f"ref_kernel of {task} changes its data, besides outputs that are handed in.",
            "Give in_place=True (kgate task-folder --in-place): the new values are then checked, too.",
        )


class InPlaceOnCopy:
    """The answer of a kernel that changes its data, and the changed data behind it; it changes a copy."""

    def __init__(self, kernel: KernelCall) -> None:
        self._kernel = kernel

    def __call__(self, data: Any) -> Any:
        own = tree.copy(data)
        answer = self._kernel(own)
        changed = list(tree.tensors(own))
        new = [one for one in tree.tensors(answer) if not any(one is other for other in changed)]
        return (answer, own) if new else own
