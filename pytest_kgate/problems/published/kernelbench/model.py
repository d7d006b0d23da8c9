"""A KernelBench model as something that can be called on inputs: the reference, or a candidate with its weights."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import torch

from pytest_kgate.problems.published.exact import device_of
from pytest_kgate.problems.published.exact import in_float64
from pytest_kgate.problems.published.kernelbench.inputs import with_constants
from pytest_kgate.problems.published.kernelbench.source import Source
from pytest_kgate.problems.trees import tree

WEIGHTS_SEED = 42
"""What KernelBench itself seeds the weights with."""

_NAMED = 6
"""Of the weights without a counterpart."""


class ModelCall:
    """Calls an instance of a class like `Model`, without gradients; it is constructed on the first call's device."""

    def __init__(
        self,
        source: Source,
        construct: Callable[..., Any],
        constants: Callable[[], Mapping[int, Any]],
        name: str,
        like: ModelCall | None = None,
    ) -> None:
        """`constants` tells the inputs that are no tensors; `like` has the weights that this one shall have."""
        self._source = source
        self._construct = construct
        self._constants = constants
        self._like = like
        self._instance: Any = None
        self.name = self.__name__ = name
        self.weights: str | None = None
        """Where they come from, as one clause; None before the first call."""
        self._keeps_nothing = False
        """Whether a captured call has shown that the instance keeps no tensor for the next one."""

    def __call__(self, *inputs: Any) -> Any:
        """The answer; raises `RuntimeError` in the capture of a CUDA graph if the instance keeps tensors between calls.

        The graphs of such a model write to memory that is given to others once the next call has replaced them.
        """
        model = self._instance if self._instance is not None else self.on(device_of(inputs))
        before = _kept(model) if not self._keeps_nothing and _capturing() else None
        with torch.no_grad():
            answer = model(*with_constants(inputs, self._constants()))
        if before is not None:
            now = _kept(model)
            if len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True)):
                raise RuntimeError(f"{self.name} keeps tensors from call to call")
            self._keeps_nothing = True
        return answer

    def on(self, device: torch.device) -> Any:
        """The instance, made on this device if there is none."""
        if self._instance is None:
            made = self._source.construct(self._construct, WEIGHTS_SEED, device)
            if self._like is not None:
                self.weights = copy_weights(self._like.on(device), made)
            self._instance = made
        return self._instance


def _capturing() -> bool:
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _kept(model: Any) -> list[torch.Tensor]:
    """The tensors that are attributes of the model or of its modules, and no parameters; buffers among them."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else [model]
    return [
        value
        for one in modules
        for value in (*getattr(one, "__dict__", {}).values(), *getattr(one, "_buffers", {}).values())
        if isinstance(value, torch.Tensor)
    ]


def widened(reference: ModelCall, made: Any, device: torch.device) -> Any:
    """`made`, another instance of the reference's model, with its weights, all in float64.

    A copy would not do: a function that the constructor made, and that the instance keeps, would still call the layers
    of the original.
    """
    copy_weights(reference.on(device), made)
    if isinstance(made, torch.nn.Module):
        made.double()
        for module in made.modules():
            vars(module).update({name: in_float64(one) for name, one in vars(module).items() if _plain(name, one)})
    return made


def _plain(name: str, one: Any) -> bool:
    """Whether an entry of a module's dictionary is a tensor, or holds some, that is neither parameter nor buffer."""
    return name not in ("_parameters", "_buffers", "_modules") and next(tree.tensors(one), None) is not None


def copy_weights(source: Any, target: Any) -> str:
    """Copy the parameters and buffers that have the same name and shape in both; says what was done, as one clause.

    The others are what construction from the same seed made them.
    """
    own, theirs = _state(source), _state(target)
    if not theirs:
        return "no weights" if not own else f"no weights with a name, from seed {WEIGHTS_SEED}"
    matching = [name for name, value in theirs.items() if name in own and own[name].shape == value.shape]
    with torch.no_grad():
        for name in matching:
            theirs[name].copy_(own[name])
    copied = f"{len(matching)} of {len(theirs)} copied by name"
    left = {name: value for name, value in theirs.items() if name not in matching}
    wanting = {name: value for name, value in own.items() if name not in matching}
    others = f", the others from seed {WEIGHTS_SEED}: {_counterparts(left, wanting)}" if left else ""
    return copied + others


def _counterparts(left: Mapping[str, torch.Tensor], wanting: Mapping[str, torch.Tensor]) -> str:
    """Weights that nothing was copied to, beside those of the model that were copied nowhere.

    Where their shapes are the same ones in the same order, each is told beside the one that it seems to be.
    """
    if [value.shape for value in left.values()] == [value.shape for value in wanting.values()]:
        return _some([f"{mine} ({other} in Model)" for mine, other in zip(left, wanting, strict=True)])
    mine = _some([f"{name} {tuple(value.shape)}" for name, value in left.items()])
    other = _some([f"{name} {tuple(value.shape)}" for name, value in wanting.items()]) or "no other weights"
    return f"{mine}; Model has {other}"


def _some(names: Sequence[str]) -> str:
    """The first of them: a deep net has hundreds."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _state(model: Any) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return dict(model.state_dict()) if isinstance(model, torch.nn.Module) else {}
