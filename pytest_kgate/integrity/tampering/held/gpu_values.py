"""Values of tensors in a GPU's memory, of which a part is copied and compared in the order of the stream.

No look waits for the GPU: an answer that is not finished when a candidate returns would be given the time for it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_kgate.problems.trees.tree import extent

_MOST = 32
"""Tensors, by lot: a look takes some 20 us of each."""

_CHUNKS, _CHUNK_BYTES = 64, 64
"""Of each, so many places by lot: who changes a twentieth of it is found with 96 %."""


class GpuValues:
    """To which of these tensors the candidate has written other values, and to which others have."""

    def __init__(self, tensors: Mapping[str, Tensor], lot: int) -> None:
        self._drawn = random.Random(lot)
        self._places: dict[tuple[torch.device, int], Tensor] = {}
        self._differs: dict[tuple[str, bool], Tensor] = {}
        """By name and by whether the candidate ran, on the GPU."""
        self._stream = _current_stream()
        chosen = self._drawn.sample(list(tensors), min(len(tensors), _MOST))
        self._latest: dict[str, Tensor] = {}
        try:
            self._latest |= {name: self._part(tensors[name]) for name in chosen}
            if chosen:
                _wait()
        except RuntimeError:  # a kernel has faulted before this call, which the first use of the device tells
            self._latest.clear()
        self._first = dict(self._latest)  # kept, as this stream's allocator would give it away while another reads it

    def look(self, tensors: Mapping[str, Tensor], *, candidate_ran: bool) -> None:
        """Compare with the last look, for `changed` to tell."""
        if not self._latest:
            return
        try:
            if _current_stream() != self._stream:
                _wait()
                self._stream = _current_stream()
            for name in self._latest.keys() & tensors.keys():
                self._compare(name, self._part(tensors[name]), candidate_ran)
        except RuntimeError:  # a kernel has faulted, which is told by who waits for it
            self._latest.clear()

    def changed(self) -> list[str]:
        """Names of those that only the candidate has changed. Waits for the GPU."""
        if not self._latest or not self._differs:
            return []
        differs = torch.stack(list(self._differs.values())).tolist()
        found = {key for key, one in zip(self._differs, differs, strict=True) if one}
        return [name for name in self._latest if (name, True) in found and (name, False) not in found]

    def _compare(self, name: str, now: Tensor, candidate_ran: bool) -> None:
        before, self._latest[name] = self._latest[name], now
        if before.shape == now.shape:
            differs = (before != now).any()
            known = self._differs.get((name, candidate_ran))
            self._differs[name, candidate_ran] = differs if known is None else known | differs

    def _part(self, tensor: Tensor) -> Tensor:
        """A copy of some of its bytes, or of all of few."""
        size = extent(tensor.shape, tensor.stride()) * tensor.element_size()
        first = tensor.storage_offset() * tensor.element_size()
        held = torch.empty(0, dtype=torch.uint8, device=tensor.device)
        held.set_(tensor.untyped_storage(), first, (size,), (1,))
        if size <= _CHUNKS * _CHUNK_BYTES:
            return held.clone()
        return held[self._places_in(size, tensor.device)]

    def _places_in(self, size: int, device: torch.device) -> Tensor:
        """Where the chunks' bytes are: the same at each look."""
        if (device, size) not in self._places:
            first = torch.tensor([[self._drawn.randrange(size - _CHUNK_BYTES + 1)] for _ in range(_CHUNKS)])
            places = (first + torch.arange(_CHUNK_BYTES)).flatten()
            self._places[device, size] = places.to(device)
        return self._places[device, size]


def _current_stream() -> object:
    return torch.cuda.current_stream() if torch.cuda.is_initialized() else None


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
