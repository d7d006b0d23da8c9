"""What a problem's functions hold: numbers, tensors, arrays, and lists, dicts and objects of these.

A candidate that writes to a reference's weights, sets a number that it loops by, or changes a table that `exact` takes
its answer from, has the reference work longer, or the exact answer be its own. A function's names are read from its
code; what it reads under them is followed as far as it is a user's.

An honest reference may count, keep what it has computed and fill buffers. So what calls of the problem's own functions
have changed is left out; what changed between the beginning and the end of a candidate's call is the candidate's doing.
Whatever is made at a first call (None before, a new key of a dict) may be made by either.
"""

from __future__ import annotations

import ctypes
import functools
import random
import secrets
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.integrity.tampering.held.gpu_values import GpuValues
from pytest_kgate.integrity.tampering.held.inside import IN_ORDER
from pytest_kgate.integrity.tampering.held.inside import SHOWN
from pytest_kgate.integrity.tampering.held.inside import TENSORS
from pytest_kgate.integrity.tampering.held.inside import inside
from pytest_kgate.problems.trees.genuine import hidden
from pytest_kgate.problems.trees.tree import extent

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

_FIELDS = ("inputs", "hard_inputs", "reference", "exact", "equal", "params", "tolerance", "mutates", "rows")

_MOST = 3000
"""Things that are looked at. A reference that holds more is a large one, of which these are a part."""

_WHOLE_BYTES = 4096
_CHUNKS, _CHUNK_BYTES = 16, 64
"""Of what is larger, so many places by lot: who changes an eighth of it is found with 88 %, who changes half always."""


class Held:
    """What a problem's functions hold, and which of it a candidate has changed."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._lot = secrets.randbits(64)
        self._own: set[str] = set()
        self._changed: dict[str, None] = {}
        self._latest = self._look()
        self._on_gpu = GpuValues(self._latest.on_gpu, self._lot)

    def others_ran(self) -> None:
        """Tell that what ran since the last look was no candidate: what it has changed changes by itself."""
        before = self._latest.versions
        self._own.update(self._differing(candidate_ran=False))
        now = self._latest.versions
        self._own.update(name for name, version in before.items() if now.get(name, version) != version)

    def candidate_ran(self) -> None:
        """Tell that the candidate was called since the last look."""
        self._changed.update(dict.fromkeys(self._differing(candidate_ran=True)))

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The candidate's call, with a look before and behind it."""
        return self._watched(call, self.candidate_ran)

    def beside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """One of the problem's own functions, with a look before and behind it.

        What two of them share they may change to and fro (a table for each dtype, or its place in memory), so that it
        is the same whenever the candidate is called.
        """
        return self._watched(function, self.others_ran)

    def _watched(self, function: Callable[..., Any], behind: Callable[[], None]) -> Callable[..., Any]:
        def watched(*given: Any, **params: Any) -> Any:
            self.others_ran()
            try:
                return function(*given, **params)
            finally:
                behind()

        return watched

    def changed(self) -> list[str]:
        """Names of what the candidate has changed so far, such as `reference.weight`."""
        return [name for name in [*self._changed, *self._on_gpu.changed()] if name not in self._own]

    def _differing(self, *, candidate_ran: bool) -> list[str]:
        """Names of what is not as it was at the last look, but for values on a GPU, which are compared there."""
        before, self._latest = self._latest.found, self._look()
        self._on_gpu.look(self._latest.on_gpu, candidate_ran=candidate_ran)
        now = self._latest.found
        return [name for name, one in before.items() if one is not None and name in now and not _same(one, now[name])]

    def _look(self) -> _Look:
        look = _Look(self._lot)
        for field in _FIELDS:
            look.add(field, getattr(self._problem, field))
        return look


def _same(one: Any, other: Any) -> bool:
    """Objects are compared by identity, what was read of them by its value."""
    return one is other or (type(one) is type(other) is tuple and one == other)


class _Look:
    """One look: a tuple of plain values, or the object itself, by name."""

    def __init__(self, lot: int) -> None:
        self.found: dict[str, Any] = {}
        self.on_gpu: dict[str, torch.Tensor] = {}
        self.versions: dict[str, int] = {}
        """How often PyTorch has written to a tensor, of which a part is read: elsewhere it may have been written to."""
        self._seen: dict[tuple[int, object], object] = {}
        """By what they are told apart by: an `id` is another's once its object is gone."""
        self._lot = lot
        self._ahead: deque[tuple[str, Any, frozenset[str]]] = deque()

    def add(self, name: str, value: Any) -> None:
        """Add what a name stands for, and all that this holds, what is nearest first."""
        self._ahead.append((name, value, frozenset()))
        while self._ahead and len(self.found) < _MOST:
            self._add(*self._ahead.popleft())

    def _add(self, name: str, value: Any, reads: frozenset[str]) -> None:
        """`reads` are the names that its reader asks objects for."""
        kind = type(value)
        if value is None or kind in SHOWN:
            self.found[name] = None if value is None else (kind.__name__, repr(value))
        elif kind in TENSORS:
            self.found[name] = self._of_tensor(name, value)
        elif kind is np.ndarray:
            self.found[name] = self._of_array(value)
        else:
            self.found[name] = (kind.__name__, len(value)) if kind in IN_ORDER else value
            seen = id(value), reads if kind is ModuleType else None  # of a module, others may read other names
            if seen not in self._seen:
                self._seen[seen] = value
                self._ahead += [(f"{name}{key}", one, its) for key, one, its in inside(value, reads)]

    def _of_tensor(self, name: str, tensor: torch.Tensor) -> tuple[Any, ...]:
        kind, own = type(tensor), hidden(tensor)  # which may tell anything
        if own or tensor.layout is not torch.strided:
            return kind, own
        read = tensor.is_neg(), tensor.is_conj(), tensor.requires_grad
        form = kind, tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride(), read
        try:
            at, held = tensor.data_ptr(), tensor.untyped_storage().nbytes()
        except RuntimeError:  # one of a transform of `torch.func`, or of none that is computed yet
            return form
        size = extent(tensor.shape, tensor.stride()) * tensor.element_size()
        within = size <= held - tensor.storage_offset() * tensor.element_size()
        if not tensor.is_inference():
            self.versions[name] = tensor._version
        there = at and size and within
        if there and tensor.is_cuda and tensor.get_device() == torch.cuda.current_device():
            self.on_gpu[name] = tensor
        return (*form, at, self._bytes(at, size) if there and tensor.device.type == "cpu" else None)

    def _of_array(self, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        form = np.ndarray, str(array.dtype), array.shape, array.strides, array.ctypes.data
        if array.dtype.hasobject or not array.size or not (array.flags.c_contiguous or array.flags.f_contiguous):
            return form
        return *form, self._bytes(array.ctypes.data, array.nbytes)

    def _bytes(self, address: int, size: int) -> int:
        if size <= _WHOLE_BYTES:
            return hash(ctypes.string_at(address, size))
        return hash(tuple(ctypes.string_at(address + at, _CHUNK_BYTES) for at in _places(self._lot, size)))


@functools.lru_cache(4096)
def _places(lot: int, size: int) -> tuple[int, ...]:
    drawn = random.Random(lot ^ size)
    return tuple(drawn.randrange(size - _CHUNK_BYTES + 1) for _ in range(_CHUNKS))
