"""Probe rows: launches on new input values, at random places among the timed ones, as proof that those did the work.

A round that is probed gets three more rows, which are no samples. One of each arm finds new values in the same buffers;
its last answer is kept, and its time shows whether a first look at values costs more than the next, as it does for a
kernel that remembers answers. A third row of the candidate has one launch, at a random turn, whose output is poisoned
before and kept after, and whose inputs change before it: launches that count on an earlier one of their row to have
done the work are found there, and so are those that begin before their turn.

Where launches follow each other in rows of several, two more rows show whether they overlap. In one, an empty kernel
stands behind each of the candidate's calls, which waits for all before it and for which all behind it wait; the other
holds as many empty kernels alone. Their difference is what the calls take one after the other.

To the candidate these are calls and captures like the others. What is compared with what, and when it is too much, is
`pytest_kgate.bench.race.probes`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.answer import demand_data
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.answer import poison
from pytest_kgate.device.answer import tensors_of
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import READABLE
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import PutBack
from pytest_kgate.device.rows import Row
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.device.rows import by_turn
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NONE = torch.empty(0, 0, dtype=torch.bool)
"""What stands for an output that a launch did not return."""

_AUDIT = (0, 2)
"""The row in which one launch, at a random turn, has new values, poisoned output and its answer kept."""

_FENCED, _FENCES = (0, 3), (0, 4)
"""The row of calls with an empty kernel between them, and the row of empty kernels."""

_HELD_BYTES = 2**26
"""Inputs up to this size are drawn three times for a probed round, and larger ones twice. Of answers up to this size
two are kept of a probed round, and of larger ones one of the two, by lot."""

RowOf = Callable[[Callable[[int], Any], int], AbstractContextManager[Callable[[], Any]]]
"""`row_of(call, launches)`: a function that makes that many launches the way the timer does (a graph, one by one)."""


class ProbeRows:
    """The extra rows of one probed round, with the new values that they bring."""

    def __init__(
        self,
        arms: Sequence[Arm],
        workload: Workload,
        sets: Sequence[BufferSet],
        rng: np.random.Generator,
        seeds: Sequence[int],
        *,
        drawn_late: bool = False,
        put_back: PutBack | None = None,
    ) -> None:
        """
        sets: the buffers of the round. drawn_late: whether new values are drawn right before they are written, where
        nothing is captured or enqueued in advance, so that no candidate finds them in this process's memory before.
        put_back: of the round's sets, where calls change inputs, or are prepared.
        """
        self._arms = arms
        self._put_back = put_back
        self._workload = workload
        self._sets = sets
        self._rng = rng
        # Of large inputs there are only two draws: the reference meets the one of the audited launch first, and the
        # candidate's own row comes before the audited one, whose other launches work on its values.
        # Only the candidate's own row brings the first values, so that nothing can have run on them before it, and only
        # the launch that is audited the third.
        self._seeds = tuple(seeds)
        self._few = not drawn_late and tree.size_bytes(sets[0][0]) > _HELD_BYTES
        self._answers = {0: workload.make_answer(sets[0][0])}
        if tree.size_bytes(self._answers[0]) <= _HELD_BYTES:
            self._answers[1] = workload.make_answer(sets[0][0])
        elif secrets.randbelow(2):
            self._answers[1] = self._answers.pop(0)
        here = next(tree.tensors(next(iter(self._answers.values())))).device
        # A captured graph keeps numbers and tensors of the host as they were, so calls on new values keep them, too.
        self._kept = tree.outside(sets[0][0], here)
        self._device = here
        self._drawn: tuple[tuple[Any, ...], ...] | None = None
        if not drawn_late:
            first, last = self._draw(self._seeds[0]), self._draw(self._seeds[2])
            self._drawn = (first, last if self._few else self._draw(self._seeds[1]), last)
        self._written: tuple[Any, ...] | None = None
        self._fenced = 0
        self._rehearse()

    @contextlib.contextmanager
    def among(
        self,
        intervals: Sequence[TimedInterval],
        rows: Mapping[Row, Callable[[], Any]],
        row_of: RowOf,
        longest: int,
        fence: Callable[[], None] | None = None,
    ) -> Iterator[list[TimedInterval]]:
        """The round's intervals with the extra rows at random places among them.

        `rows` has the launches of the round's own rows; `longest` is the number of launches of the longest of them.
        `fence` enqueues an empty kernel, on a device where calls in a row could overlap.
        """
        length = int(self._rng.integers(1, longest + 1))
        own = rows.get(READABLE, rows[0, LONG])
        with contextlib.ExitStack() as stack:
            audit = stack.enter_context(row_of(self._audited(int(self._rng.integers(length))), length))
            extra = [
                TimedInterval((0, LONG), own, lambda: self._renew(0), lambda result: self._keep(0, result), False),
                TimedInterval((1, LONG), rows[1, LONG], lambda: self._renew(1), sampled=False),
                TimedInterval(_AUDIT, audit, lambda: self._renew(0 if self._few else 1), sampled=False),
            ]
            if fence is not None and longest > 1:
                self._fenced = longest
                for key, call in ((_FENCED, self._between(fence)), (_FENCES, lambda turn: fence())):
                    row = stack.enter_context(row_of(call, longest))
                    row()  # what a first launch costs, such as bringing a graph to the device, is no part of the time
                    extra.append(TimedInterval(key, row, sampled=False))
            places = self._rng.permutation(len(intervals) + len(extra))[: len(extra)]
            if self._few and places[0] > places[2]:
                places[0], places[2] = places[2], places[0]
            yield _merged(intervals, dict(zip(places.tolist(), extra, strict=True)))

    def result(
        self, intervals: Sequence[TimedInterval], elapsed: NDArray[np.float64], latency_seconds: float | None = None
    ) -> Probe:
        """The answers to verify, and the seconds of rows on new values and on old ones.

        `elapsed` has the seconds of each interval; `latency_seconds` is the candidate's latency in this round.
        """
        sampled = np.array([interval.sampled for interval in intervals])
        looks = []
        for arm in range(2):
            mine = np.array([interval.row == (arm, LONG) for interval in intervals])
            looks.append(FirstLook(elapsed[mine & ~sampled].item(), tuple(elapsed[mine & sampled].tolist())))
        answers = tuple((self._seeds[2 * which], kept) for which, kept in self._answers.items())
        overlap = None
        if self._fenced and latency_seconds is not None:
            fenced, fences = (
                elapsed[[interval.row == key for interval in intervals]].item() for key in (_FENCED, _FENCES)
            )
            overlap = float(fenced - fences) / self._fenced - latency_seconds
        return Probe(answers, (looks[0], looks[1]), overlap, self._kept)

    @property
    def written(self) -> tuple[Any, ...] | None:
        """The values that were written latest to buffers of the round; None where none were as yet."""
        return self._written

    def _draw(self, seed: int) -> tuple[Any, ...]:
        values: tuple[Any, ...] = tree.with_outside(self._workload.draw(seed), self._kept, self._device)
        return values

    def _renew(self, which: int, sets: Sequence[BufferSet] | None = None) -> None:
        """Write the values of draw `which` into the same buffers: of all sets, unless some are named."""
        self._written = None  # freed before the next are drawn
        self._written = values = self._draw(self._seeds[which]) if self._drawn is None else self._drawn[which]
        for inputs, _ in self._sets if sets is None else sets:
            tree.write(inputs, values)
        if self._put_back is not None and sets is None:
            self._put_back.renewed(values)

    def _keep(self, which: int, result: Any) -> None:
        demand_data(result)  # not an object that computes now that its time is over
        if which not in self._answers:
            return
        found = tensors_of(result)
        for name, kept in outputs_of(self._answers[which]).items():
            answer = found.get(name, _NONE)
            if answer.shape != kept.shape or answer.dtype != kept.dtype:
                raise CandidateError(
                    f"A timed launch returned {tuple(answer.shape)} of {answer.dtype}, the checked ones "
                    f"{tuple(kept.shape)} of {kept.dtype}.",
                    "Return the same kind of output at every call.",
                )
            kept.copy_(answer)

    def _audited(self, turn: int) -> Callable[[int], Any]:
        """The candidate's call by turn; at `turn`, with new values and a poisoned output, which is copied after it."""
        call = by_turn(self._arms, 0, self._sets)
        own = self._sets[turn % len(self._sets)]

        def audited(now: int) -> Any:
            if now != turn:
                return call(now)
            self._renew(2, [own])
            if self._put_back is not None:
                self._put_back.prepare()
            if self._arms[0].takes_output:
                poison(own[1][0])
            else:
                self._workload.clear_freed(own[0])
            result = call(now)
            self._keep(1, result)
            return result

        return audited

    def _between(self, fence: Callable[[], None]) -> Callable[[int], Any]:
        """The candidate's call by turn, with an empty kernel behind each."""
        call = by_turn(self._arms, 0, self._sets)

        def fenced(turn: int) -> Any:
            result = call(turn)
            fence()
            return result

        return fenced

    def _rehearse(self) -> None:
        """Load the kernels that copy and poison: a module can't be loaded while the stream is held.

        Autograd refuses inputs that were written to since the forward pass, if with the same values: it is run again.
        """
        inputs = self._sets[0][0]
        tree.write(inputs, inputs)
        for answer in self._answers.values():
            for tensor in tree.tensors(poison(answer)):
                flat = tensor.reshape(-1)
                flat[:1].copy_(flat[-1:])
        if self._put_back is not None:
            self._put_back.prepare()


def _merged(intervals: Sequence[TimedInterval], extra: dict[int, TimedInterval]) -> list[TimedInterval]:
    """`intervals` in their order, with `extra` at the places of its keys."""
    left = iter(intervals)
    return [extra[place] if place in extra else next(left) for place in range(len(intervals) + len(extra))]
