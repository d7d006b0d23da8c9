"""The inputs of a task: those of its `generate_input`, with seeds of ours, without the outputs that are handed in.

Most tasks hand the memory of their output to the kernel, as a last tensor that nobody has written to, or that is zero.
It is no input: who calls makes it anew for each call. Which tensors nobody has written to shows where `torch.empty` is
filled with one byte, and then with another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pytest_kgate.problems.published.seeding import seeded
from pytest_kgate.problems.published.task_folder.task import Task
from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees import tree

_SEEDS = 2**20
"""Published seeds are below it. Some tasks compute with their seed: one adds it to its values."""

_FILLS = (0, 1)

_UNWRITTEN = (torch.empty, torch.empty_like, torch.empty_strided, Tensor.new_empty)


@dataclass(frozen=True)
class HandedIn:
    """A tensor of the data that the kernel is to write its output to."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    zero: bool
    """Whether it is zero when the kernel is called; else nobody has written to it."""

    def made(self, device: torch.device) -> Tensor:
        """New memory for the output."""
        found = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)
        return found.zero_() if self.zero else found


class Inputs:
    """Draws a task's data, and puts new outputs into it for a call."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.handed_in: dict[int, HandedIn] | None = None
        """By the places of their leaves in the data; None before the first draw."""

    def draw(self, generator: Generator) -> tuple[Any, ...]:
        """One argument, the data, on the generator's device, with None for each output that is handed in."""
        device = generator.device
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        data = self._generated(seed, device, _FILLS[0])
        if self.handed_in is None:
            self.handed_in = _handed_in(data, self._generated(seed, device, _FILLS[1]))
        return (_replaced(data, self.handed_in, lambda leaf: None),)

    def with_outputs(self, data: Any) -> Any:
        """Drawn data as a kernel takes it: with new memory for the outputs."""
        if not self.handed_in:
            return data
        first = next(tree.tensors(data), None)
        device = torch.device("cpu") if first is None else first.device
        return _replaced(data, self.handed_in, lambda spec: spec.made(device))

    def outputs_of(self, data: Any) -> Any:
        """The outputs that were handed in with such data: one tensor, or a tuple of several."""
        leaves = list(tree.leaves(data))
        found = tuple(leaves[place] for place in self.handed_in or ())
        return found[0] if len(found) == 1 else found

    def to_message(self) -> list[Any] | None:
        """What is known of the outputs handed in, as JSON holds it."""
        if self.handed_in is None:
            return None
        return [
            [place, list(one.shape), list(one.stride), str(one.dtype).removeprefix("torch."), one.zero]
            for place, one in self.handed_in.items()
        ]

    def take(self, message: list[Any] | None) -> None:
        """Take over what another process told by `to_message`: this one may never draw."""
        if message is not None:
            self.handed_in = {
                place: HandedIn(tuple(shape), tuple(stride), getattr(torch, dtype), zero)
                for place, shape, stride, dtype, zero in message
            }

    def _generated(self, seed: int, device: torch.device, fill: int) -> Any:
        arguments = dict(self._task.arguments)
        if self._task.seeded:
            arguments["seed"] = seed % _SEEDS
        with seeded(seed, device), _generators_on(device), _Placed(device, fill):
            return self._task.generate_input(**arguments)


class _Placed(TorchFunctionMode):
    """In the block, tensors for "cuda" are made on the device, and what nobody has written to is filled."""

    def __init__(self, device: torch.device, fill: int) -> None:
        super().__init__()
        self._device, self._fill = device, fill

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if self._device.type != "cuda":
            args = tuple(self._placed(one) for one in args)
            kwargs = {name: self._placed(one) for name, one in kwargs.items() if name != "pin_memory"}
            if func is Tensor.cuda:
                return args[0]
        made = func(*args, **kwargs)
        if func in _UNWRITTEN and isinstance(made, Tensor):
            storage = made.untyped_storage()
            torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).fill_(self._fill)
        return made

    def _placed(self, one: Any) -> Any:
        named = isinstance(one, str) and one.partition(":")[0] == "cuda"
        return self._device if named or (isinstance(one, torch.device) and one.type == "cuda") else one


@contextlib.contextmanager
def _generators_on(device: torch.device) -> Iterator[None]:
    """In the block, a generator for "cuda" is one for a device that is no GPU: no mode of PyTorch's tells of those."""
    if device.type == "cuda":
        yield
        return
    before: Any = torch.Generator

    class Placed(before):  # type: ignore[misc]
        def __new__(cls, _device: Any = None, **_named: Any) -> Any:
            return before.__new__(cls, device=device)

    made: Any = Placed
    torch.Generator = made  # type: ignore[misc]
    try:
        yield
    finally:
        torch.Generator = before  # type: ignore[misc]


def _handed_in(data: Any, again: Any) -> dict[int, HandedIn]:
    """By their places, the leaves of which not one byte is alike in two draws of one seed that were filled otherwise.

    And those that are zero in both, which a kernel may read, too: memory that is zero again in each call serves it.
    """
    found = {}
    for place, (one, other) in enumerate(zip(tree.leaves(data), tree.leaves(again), strict=True)):
        if not isinstance(one, Tensor) or not tree.has_span(one):
            continue
        first, second = tree.bytes_of(one), tree.bytes_of(other)
        zero = one.numel() > 1 and not bool(first.any() | second.any())
        if zero or bool((first != second).all()):
            found[place] = HandedIn(tuple(one.shape), one.stride(), one.dtype, zero)
    return found


def _replaced(data: Any, places: dict[int, HandedIn], make: Callable[[HandedIn], Any]) -> Any:
    """The data with something else in these places."""
    count = iter(range(2**31))
    return structure.mapped(data, lambda leaf: make(places[at]) if (at := next(count)) in places else leaf)
