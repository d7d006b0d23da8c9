"""A candidate's answers, kept for the clean process in memory that nobody in this one can write to any more."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

import torch
from torch import Tensor

from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.fingerprint import Fingerprint

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import DrawKind

_KEPT_BYTES = 2**28
"""Of all answers of one call that are kept. One of the check's and one of the timed are kept even where they are
larger: each costs another exact answer."""

_CHECKED: tuple[DrawKind, ...] = ("normal", "hard")
"""Of each kind of draw one answer is kept, drawn by lot from this many."""

_LOTS = {"normal": 3, "hard": 2}

_TIMED = 2
"""Answers of timed launches that are kept, drawn by lot. With those of the check they make a quarter of what was
verified here, so that the second comparison costs a quarter of the first."""

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_CHUNK_BYTES = 2**30
"""Linux writes less than 2 GiB at once."""


@dataclass(frozen=True)
class KeptAnswer:
    """One answer, and what its inputs are drawn by."""

    facts: dict[str, Any]
    """`whose` it is, `kind` of the draw, `seed`, `inputs` (their fingerprint), and `tensors`: dtype and shape of each,
    in order."""
    fd: int
    """Of sealed memory with the tensors' bytes, one behind the other."""
    size: int


class KeptAnswers:
    """The answers of one call that the clean process shall compare as well."""

    def __init__(self) -> None:
        self._left = {kind: secrets.randbelow(_LOTS[kind]) for kind in _CHECKED}
        self._kept: list[KeptAnswer] = []
        self._timed: list[KeptAnswer] = []
        self._offered = 0

    def checked(self, kind: DrawKind, seed: int, inputs: Fingerprint, answer: Any) -> None:
        """An answer of the check, which is kept if the lot falls on it."""
        self._left[kind] -= 1
        if self._left[kind] == -1 and self._has_room(answer, self._kept):
            self._kept.append(sealed(kind, seed, inputs, answer))

    def timed(self, seed: int, inputs: tuple[Any, ...], answer: Any, stayed: Any) -> None:
        """An answer of a timed launch; of all that are offered, each has the same chance to be kept.

        `inputs` are what its seed draws; `stayed` is what was not renewed of them, as `Probe.kept` has it.
        """
        device = next((one.device for one in tree.tensors(answer)), torch.device("cpu"))
        if stayed is not None and not tree.same(tree.outside(inputs, device), stayed):
            return  # no one seed draws what it was given
        self._offered += 1
        place = len(self._timed) if len(self._timed) < _TIMED else secrets.randbelow(self._offered)
        if place >= _TIMED or not self._has_room(answer, self._timed):
            return
        if place < len(self._timed):
            os.close(self._timed.pop(place).fd)
        self._timed.append(sealed("normal", seed, Fingerprint(inputs), answer))

    def __iter__(self) -> Iterator[KeptAnswer]:
        return iter((*self._kept, *self._timed))

    def close(self) -> None:
        """Free the kept answers."""
        for one in self:
            os.close(one.fd)
        self._kept, self._timed = [], []

    def _has_room(self, answer: Any, alike: list[KeptAnswer]) -> bool:
        size = sum(one.size for one in self) + sum(tensor.nbytes for tensor in tree.tensors(answer))
        return not alike or size <= _KEPT_BYTES


def sealed(
    kind: DrawKind, seed: int, inputs: Fingerprint, answer: Any, whose: Literal["candidate", "reference"] = "candidate"
) -> KeptAnswer:
    """An answer in memory that can't be written to any more."""
    fd = os.memfd_create("kgate-answer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    tensors, size = [], 0
    for tensor in tree.tensors(answer):
        dense = tensor.detach().contiguous()
        tensors.append({"dtype": str(dense.dtype).removeprefix("torch."), "shape": list(dense.shape)})
        size += _write(fd, tree.bytes_of(dense).cpu()) if dense.numel() else 0
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    facts = {"whose": whose, "kind": kind, "seed": seed, "inputs": inputs.to_message(), "tensors": tensors}
    return KeptAnswer(facts, fd, size)


def _write(fd: int, data: Tensor) -> int:
    view: memoryview = data.numpy().data
    for start in range(0, len(view), _CHUNK_BYTES):
        left = view[start : start + _CHUNK_BYTES]
        while left:
            left = left[os.write(fd, left) :]
    return len(view)


def message_file(text: str) -> int:
    """A file descriptor of sealed memory with this text of JSON, which may be longer than a channel's messages."""
    fd = os.memfd_create("kgate-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    data = torch.frombuffer(bytearray(text.encode("ascii")), dtype=torch.uint8)
    _write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def read_message(fd: int) -> dict[str, Any]:
    """In the clean process: the message of such a file."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        message: dict[str, Any] = json.loads(file.read())
    return message


def read_tensors(fd: int, tensors: list[dict[str, Any]], device: str) -> list[Tensor]:
    """In the clean process: the tensors of a kept answer, copied to the device."""
    size = os.fstat(fd).st_size
    with os.fdopen(fd, "rb") as file:
        memory: Any = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) if size else bytearray(1)
    data = torch.frombuffer(memory, dtype=torch.uint8)
    found, start = [], 0
    for one in tensors:
        made = torch.empty(one["shape"], dtype=getattr(torch, one["dtype"]))
        if made.numel():
            tree.bytes_of(made).copy_(data[start : start + made.nbytes])
        found.append(made.to(device))
        start += made.nbytes
    return found
