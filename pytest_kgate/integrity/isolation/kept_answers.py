"""What is drawn and kept of an isolated candidate's timed calls, whichever process launches them."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.tree import storage_span
from pytest_kgate.system.procfs import available_memory

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import ColdCache
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Workload

_DRAWN_BYTES = 2**28
_DRAWN_CALLS = 64
"""How many bytes and calls are drawn at most before they are copied to the row together: one by one, small copies take
longer to launch than to run."""

_KEPT = 128
"""How many outputs of a race are kept for verification, at most."""

_KEPT_BYTES = 2**30
_KEPT_SHARE = 1 / 16
_FEWEST_KEPT = 16
"""The host memory that kept outputs may take, or the share of what is available if that is more, and how many are kept
even so: sixteen find a candidate that leaves out one call in twenty with 56 %."""


LOTS = 2
"""Outputs of a row that are kept: 96 in the shortest race, which find a candidate that leaves out one call in twenty
with 99 %. In a row that its own process launches, each is copied within the time that counts as the candidate's."""

_SYSTEM = random.SystemRandom()


def lots(calls: Sequence[int]) -> list[int]:
    """Which of a row's calls are kept: drawn once they have been made, from no seed that there is."""
    return _SYSTEM.sample(calls, min(LOTS, len(calls)))


def copy_from_anywhere(copies: Any, answers: Any) -> None:
    """Copy an answer, each tensor from a place that is drawn by lot to its end, and then what is before that.

    Its process may see which answer is read: the caches tell, where cores share one. From a begin that it knows, it
    could compute what is left to do ahead of the copy, and need not have done so in the calls that nobody reads.
    """
    pairs = list(zip(tree.tensors(copies), tree.tensors(answers), strict=True))
    for copy, answer in _SYSTEM.sample(pairs, len(pairs)):
        if copy.stride() != answer.stride() or copy.is_conj() or copy.is_neg() or not tree.has_span(answer):
            copy.copy_(answer)
            continue
        mine, theirs = storage_span(copy), storage_span(answer)
        begin = _SYSTEM.randrange(len(theirs))
        mine[begin:].copy_(theirs[begin:])
        mine[:begin].copy_(theirs[:begin])


class KeptAnswers:
    """Answers of timed calls, each with equal probability among all that were offered (reservoir sampling)."""

    def __init__(self, like: Any) -> None:
        """`like`: one of the answers to come, for its size."""
        self._seen = 0
        room = max(_KEPT_BYTES, _KEPT_SHARE * (available_memory() or 0))
        self._most = int(np.clip(room / max(1, tree.size_bytes(like)), _FEWEST_KEPT, _KEPT))
        self.answers: list[tuple[int, Any]] = []
        """Seed of the inputs, and the answer in host memory."""

    def offer(self, seed: int, answer: Any) -> None:
        """Offer an answer, which is kept, maybe in place of another one, or is not."""
        self._seen += 1
        if len(self.answers) < self._most:
            self.answers.append((seed, tree.mapped(answer, Tensor.cpu)))
            return
        place = secrets.randbelow(self._seen)
        if place < self._most:
            self.answers[place] = (seed, tree.mapped(answer, Tensor.cpu))


class KeepsAnswers:
    """What both stopwatches of isolated candidates tell of themselves."""

    calls: int
    """The number of calls in a row, of two rows in the longer."""
    enough_seconds = math.inf
    """Ten samples a round where the budget has room: what a round makes anew is little beside the values of samples."""
    _sample_seconds: float
    _reference_once: float
    _kept: KeptAnswers

    @property
    def sample_seconds(self) -> float:
        """Seconds that a sample of both arms takes, including the drawing of values."""
        return self._sample_seconds

    @property
    def reference_seconds(self) -> float:
        """The latency of the reference, from a single sample."""
        return self._reference_once

    def prove_cold(self) -> ColdCache | None:
        """None: no cache is flushed; new values, or many sets of them, are not in the cache."""
        return None

    @property
    def kept(self) -> list[tuple[int, Any]]:
        """Seeds of calls chosen at random from all rows, and their outputs as they were when their sample was over.

        In an order that no candidate can know: where time allows a few to be verified only, they are of any rows.
        """
        return _SYSTEM.sample(self._kept.answers, len(self._kept.answers))


def with_numbers_kept(workload: Workload, device: Device) -> Workload:
    """The workload with all that is not in the device's memory as it is in one draw: what a row of calls shares.

    Numbers, strings and tensors of the host are sent with the row's layout, or are in its captured launches, as in a
    graph of this process's own. Values of tensors on the device are new for each call.
    """
    here = torch.device(device.torch_device)
    with device.running("drawing the inputs"):
        kept = tree.outside(workload.draw(0), here)
    return replace(workload, draw=lambda seed: tree.with_outside(workload.draw(seed), kept, here))


def fill(layout: Layout, block: Tensor, workload: Workload, seeds: Sequence[int]) -> None:
    """Fill the inputs of each call in a block with the values that its seed draws."""
    at_once = min(max(1, _DRAWN_BYTES // layout.slot_bytes), _DRAWN_CALLS)
    columns = layout.columns(block)
    for first in range(0, len(seeds), at_once):
        drawn = [workload.draw(seed) for seed in seeds[first : first + at_once]]
        own = [layout.tensors(values, block.device) for values in drawn]
        for column, values in zip(columns, zip(*own, strict=True), strict=True):
            column[first : first + len(drawn)].copy_(torch.stack([storage_span(value) for value in values]))
