"""How the kernels of a task are called: with its data, in which the outputs are new memory in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pytest_kgate.problems.published.task_folder.inputs import Inputs
from pytest_kgate.problems.trees import tree


class KernelCall:
    """Calls a reference or a submission without gradients; where it returns nothing, the outputs handed in count."""

    def __init__(self, function: Callable[..., Any], inputs: Inputs, *, name: str) -> None:
        self._function = function
        self._inputs = inputs
        self.name = self.__name__ = name

    def __call__(self, data: Any) -> Any:
        with torch.no_grad():
            whole = self._inputs.with_outputs(data)
            answer = self._function(whole)
            return self._inputs.outputs_of(whole) if answer is None and self._inputs.handed_in else answer


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
