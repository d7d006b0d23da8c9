"""Fingerprints of a problem's inputs: they show that no byte has changed, in a millionth of a copy's memory.

The bytes are cut into blocks, and each block's words are multiplied by secret random numbers of 64 bits and added up,
modulo 2^64. Where a word of 32 bits has changed, at most one in 2^32 of the possible numbers leaves the sum as it was
(multilinear hashing: Lemire and Kaser, Strongly universal string hashing is fast, 2014). Who does not know the numbers
can't make a change that fits.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.genuine import hidden

_KEY_BITS = 63

_BLOCK_WORDS = 2**20
"""8 MiB of factors, and twice as much for the words and products of a block."""

_BLOCK_WORDS_OF_GPU = 2**22
"""A GPU reads so many in the time of a few launches, which smaller blocks would take instead."""


class Fingerprint:
    """The inputs of one call, as they were when the fingerprint was taken."""

    def __init__(self, inputs: tuple[Any, ...], most_bytes: int | None = None, *, key: int | None = None) -> None:
        """Of all bytes; of inputs larger than `most_bytes`, of blocks of about so many bytes that a secret lot draws.

        To read gigabytes takes as long as a call that works on them, and whoever changes inputs from time to time, or
        many places of them, is found by the lots of several rounds as well. `key` is what the secret numbers are drawn
        from, where the fingerprint is compared with one that another process has taken.
        """
        self._share = 1.0 if most_bytes is None else min(1.0, most_bytes / max(1, tree.size_bytes(inputs)))
        self._lot = secrets.randbits(128)
        self._key = secrets.randbits(_KEY_BITS) if key is None else key
        self._factors: dict[torch.device, Tensor] = {}
        self._longest = max((_words(tensor).numel() for tensor in tree.tensors(inputs)), default=0)
        self._hidden = [_hidden(one) for one in inputs]
        self._sums = [self._of(one) for one in inputs]
        self._plain = [repr(leaf) for leaf in tree.leaves(inputs) if isinstance(leaf, (int, float, complex, str))]

    def first_changed(self, inputs: tuple[Any, ...]) -> int | None:
        """The position of the first input that does not hold the same bytes any more; None where all do.

        Nor may one have functions of its own in place of its class's: these say what it holds, here and to `exact`.
        """
        for position, (one, then, hid) in enumerate(zip(inputs, self._sums, self._hidden, strict=True)):
            if _hidden(one) != hid:
                return position
            now = self._of(one)
            if len(now) != len(then) or not all(map(torch.equal, now, then)):
                return position
        return None

    def to_message(self) -> dict[str, Any]:
        """The fingerprint in types of JSON: by it another process tells whether it has the same values."""
        assert self._share == 1.0, "the blocks of a secret lot are no other process's"
        sums = [[one.tolist() for one in its] for its in self._sums]
        return {"key": self._key, "sums": sums, "plain": self._plain}

    @classmethod
    def fits(cls, message: dict[str, Any], inputs: tuple[Any, ...]) -> bool:
        """Whether inputs have the fingerprint of which `to_message` told."""
        return cls(inputs, key=message["key"]).to_message() == message

    def _of(self, one: Any) -> list[Tensor]:
        """Of each tensor the sums of its blocks, on its device."""
        return [self._block_sums(_words(tensor)) for tensor in tree.tensors(one) if tensor.numel()]

    def _block_sums(self, words: Tensor) -> Tensor:
        factors = self._factors_on(words.device)
        blocks = words.split(_block_words(words.device))
        sums = [(blocks[at].to(torch.int64) * factors[: blocks[at].numel()]).sum() for at in self._drawn(len(blocks))]
        return torch.stack(sums)

    def _drawn(self, blocks: int) -> Sequence[int]:
        """Which of so many blocks are looked at: the same ones every time."""
        if self._share == 1.0:
            return range(blocks)
        return random.Random(self._lot).sample(range(blocks), max(1, round(self._share * blocks)))

    def _factors_on(self, device: torch.device) -> Tensor:
        if device not in self._factors:
            generator = torch.Generator(device=device)
            generator.manual_seed(self._key)
            length = min(self._longest, _block_words(device))
            high, low = (
                torch.randint(2**32, (length,), generator=generator, device=device, dtype=torch.int64) for _ in range(2)
            )
            self._factors[device] = (high << 32) + low
        return self._factors[device]


def _block_words(device: torch.device) -> int:
    return _BLOCK_WORDS_OF_GPU if device.type == "cuda" else _BLOCK_WORDS


def _words(tensor: Tensor) -> Tensor:
    """A tensor's bytes as words of 32 bits; as single bytes where they are not aligned to that."""
    found = tree.bytes_of(tensor)
    aligned = found.numel() % 4 == 0 and found.storage_offset() % 4 == 0
    return found.view(torch.int32) if aligned else found


def _hidden(one: Any) -> list[tuple[str, ...]]:
    return [hidden(tensor) for tensor in tree.tensors(one)]
