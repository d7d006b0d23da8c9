"""Rows of launches, of which every timer's round consists: each row is one timed interval."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from torch import Tensor

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.problems.trees.genuine import hidden

BufferSet = tuple[tuple[Any, ...], list[Any]]
"""Inputs, and for each arm the output that it writes to (None where it allocates its own)."""

Row = tuple[int, int]
"""(arm, length): length is 0 for the arm's short row of launches, 1 for its long row."""

SHORT, LONG = 0, 1

READABLE: Row = (0, -1)
"""The candidate's long row that leaves its answer where it can be read, on timers that have several such rows."""

_COPIED_BYTES = 2**26
"""Inputs up to this size are copied to be compared."""

_FEWEST_READ = 3
"""First looks by which it is told that answers are late: one or two may have met an interrupt."""

_READ_SECONDS, _READ = 100e-6, 0.05
"""By how much a first look may take longer than two others: by so much, and this share of a call. Of a small answer it
takes 30 us."""


@dataclass(frozen=True)
class TimedInterval:
    """One timed interval of a round."""

    row: Row
    enqueue: Callable[[], Any]
    """Makes the launches and returns the result of the last."""
    before: Callable[[], None] | None = None
    """Enqueued ahead of the interval."""
    after: Callable[[Any], None] | None = None
    """Enqueued behind it, with what `enqueue` returned."""
    sampled: bool = True


def by_turn(arms: Sequence[Arm], index: int, sets: Sequence[BufferSet]) -> Callable[[int], Any]:
    """A function from a turn to the arm's call on that turn's buffers; the sets of buffers are used in rotation."""
    call = arms[index].call

    def launch(turn: int) -> Any:
        inputs, outputs = sets[turn % len(sets)]
        return call(inputs, outputs[index])

    return launch


def in_a_row(call: Callable[[int], Any], launches: int) -> Callable[[], Any]:
    """A function that calls `call(0)`, `call(1)` and so on, `launches` times, and returns the last result."""

    def enqueue() -> Any:
        result = None
        for turn in range(launches):
            result = call(turn)
        return result

    return enqueue


def remembered(inputs: tuple[Any, ...], *, in_part: bool = False) -> tuple[Any, ...] | Fingerprint:
    """What tells later whether inputs were written to: a copy, which is quick, or of large ones a fingerprint.

    in_part: whether the fingerprint may be of a part that is drawn by lot, as one round of many may have.
    """
    if tree.size_bytes(inputs) <= _COPIED_BYTES:
        return tree.copy(inputs)
    return Fingerprint(inputs, _COPIED_BYTES if in_part else None)


def first_changed(inputs: tuple[Any, ...], before: tuple[Any, ...] | Fingerprint) -> int | None:
    """The position of the first input that does not hold what it held before; None where all do."""
    if isinstance(before, Fingerprint):
        return before.first_changed(inputs)
    pairs = enumerate(zip(inputs, before, strict=True))
    return next((place for place, (now, then) in pairs if not tree.same_bytes(now, then)), None)


def demand_unwritten(inputs: tuple[Any, ...], before: tuple[Any, ...] | Fingerprint, who: str) -> None:
    """Raise `TimingError` where inputs do not hold what they held before, after timed calls of `who`.

    Whoever writes to inputs while calls are timed changes what the other arm is timed on: arithmetic on denormals, for
    one, takes many times as long. The check before the race compares them, too, but there a candidate may behave.
    """
    position = first_changed(inputs, before)
    if position is not None:
        raise TimingError(
            f"Input {position} was changed in timed calls of {who}: what is timed after that works on other values.",
            "Inputs must stay as they are: write to a copy, and nowhere beyond the end of other tensors.",
        )


class Form:
    """Of each tensor of the sets its class, strides, address and sign: what a call may change no more than the values.

    Inputs that calls change in place (`mutates`) may get other memory, and outputs of the candidate are its own affair.
    """

    def __init__(self, sets: Sequence[BufferSet], mutates: Sequence[int]) -> None:
        self._sets, self._mutates = sets, mutates
        self._before = self._now()

    def demand_kept(self, who: str) -> None:
        """Raise `TimingError` where the sets are of another form than they were, after timed calls of `who`.

        A class of a candidate's own, whose `__torch_function__` sleeps, slows down all that the other arm does with
        them; so does memory of another kind with the same values, and a function in place of one of its class.
        """
        if self._now() != self._before:
            raise TimingError(
                "An input or an output was given another class or sign, other memory or other strides in timed calls "
                f"of {who}, or functions of its own: the other arm is timed on it as well.",
                "Inputs and the other arm's outputs must stay as they are: make a view or a copy, and change that.",
            )

    def _now(self) -> list[list[tuple[Any, ...]]]:
        return [
            [
                *(
                    _form(one, at=place not in self._mutates)
                    for place, value in enumerate(inputs)
                    for one in tree.tensors(value)
                ),
                *(_form(one) for one in tree.tensors(outputs[1:])),
            ]
            for inputs, outputs in self._sets
        ]


class FormInTurns(Form):
    """As `Form`, with what inputs hold besides tensors, in lists, dicts and dataclasses, where arms take turns."""

    def __init__(self, sets: Sequence[BufferSet], mutates: Sequence[int]) -> None:
        super().__init__(sets, mutates)
        self._held = self._held_now()

    def turn_over(self, who: str, *, candidates: bool) -> None:
        """Raise `TimingError` where the turn of `who` has left the sets of another form.

        What inputs hold is held against a candidate alone (`candidates`): a reference that adds to a dict among its
        inputs is slowed down by nobody else.
        """
        self.demand_kept(who)
        before, self._held = self._held, self._held_now()
        if candidates and self._held != before:
            raise TimingError(
                f"A list, a dict or another input that holds several was changed in timed calls of {who}: the other "
                "arm is timed on it as well.",
                "Inputs must stay as they are: make a copy, and change that.",
            )

    def _held_now(self) -> list[list[Any]]:
        return [
            [structure.outline(one) for place, one in enumerate(inputs) if place not in self._mutates]
            for inputs, _ in self._sets
        ]


def _form(tensor: Tensor, *, at: bool = True) -> tuple[Any, ...]:
    own = hidden(tensor)  # whatever calls `tensor.transpose` pays for one that sleeps
    if type(tensor) is not Tensor or own or not tree.has_span(tensor):
        return type(tensor), own
    read = tensor.is_neg(), tensor.is_conj()  # as the negative or the conjugate of what the memory holds
    return type(tensor), tensor.device, tensor.stride(), read, tensor.data_ptr() if at else None


class FirstReads:
    """How long it takes to read answers of timed calls for the first time, as it does where they are not there yet.

    Whatever computes an answer once its time is over, the collector, a tracer that takes itself off again, a signal or
    a thread: whoever looks at it first waits for that.
    """

    __slots__ = ("_late",)

    def __init__(self) -> None:
        self._late: tuple[float, ...] = ()

    def read(self, keep: Callable[[Any], None], result: Any) -> None:
        """Read an answer by `keep`, twice; to be called as the clock has stopped."""
        collects = gc.isenabled()
        gc.disable()  # where a call has turned it on, it would run at the next list, and what listens to it
        seconds = []
        for _ in range(2):
            start = time.perf_counter_ns()
            keep(result)
            seconds.append((time.perf_counter_ns() - start) * 1e-9)
        if collects:
            gc.enable()
        self._late = (*self._late, seconds[0] - 2 * seconds[1])

    def demand_there(self, call_seconds: float) -> None:
        """Raise `TimingError` where most answers were computed once their time was over; `call_seconds` is of one."""
        late = statistics.median(self._late) if len(self._late) >= _FEWEST_READ else 0.0
        if late > _READ_SECONDS + _READ * call_seconds:
            raise TimingError(
                f"Answers of timed calls were there only {late * 1e6:.0f} us after the calls had returned: what these "
                "leave to be done is not in their time.",
                "Compute an answer in the call that returns it.",
            )


class PutBack:
    """The sets of inputs of calls that change some in place, one for each call of a row, and the way back.

    Only what is changed has a copy for each set, in one block, so that writing all of them back is one copy on a GPU.
    It is done before each interval, outside of it.
    """

    def __init__(
        self, inputs: tuple[Any, ...], mutates: Sequence[int], calls: int, most_bytes: int, arms: Sequence[Arm] = ()
    ) -> None:
        """`inputs` are those of the first set. What `arms` have to do before their calls is done as well.

        There are fewer sets than `calls` where they need more than `most_bytes`: then the sets take turns, and a call
        finds what an earlier one of its row has left.
        """
        own = [inputs[place] for place in mutates]
        self.count = min(calls, max(1, most_bytes // max(1, tree.size_bytes(own)))) if mutates else 1
        self._mutates, self._calls = tuple(mutates), calls
        self._pristine = tree.copy(tuple(own))
        copies, self._blocks = tree.stacked(self._pristine, self.count - 1)
        self._prepared = tuple(arm for arm in arms if arm.prepare is not None)
        self.sets = [inputs]
        for copy in copies:
            changed = dict(zip(mutates, copy, strict=True))
            self.sets.append(tuple(changed.get(place, one) for place, one in enumerate(inputs)))

    def renewed(self, values: tuple[Any, ...]) -> None:
        """Write back these values from now on; the first set of buffers holds them already."""
        self._pristine = tuple(values[place] for place in self._mutates)

    def __call__(self) -> None:
        """Write back what the calls are to change, and prepare them."""
        if self._mutates:
            tree.write([self.sets[0][place] for place in self._mutates], self._pristine)
            tree.write_stacked(self._blocks, self._pristine)
        self.prepare()

    def prepare(self) -> None:
        """Do what the arms have to do before calls on all sets."""
        prepare(self._prepared, self.sets)

    def warn(self, warnings: list[str]) -> None:
        """Add a sentence for the record where the sets take turns."""
        said = (
            f"{self.count} copies of the inputs that calls change had room, for {self._calls} calls in a row: some "
            "calls found what an earlier one of their row had left"
        )
        if self._mutates and self.count < self._calls and said not in warnings:
            warnings.append(said)

    def before(self, intervals: Sequence[TimedInterval]) -> list[TimedInterval]:
        """The intervals, ahead of each of which the inputs are written back."""
        if not (self._mutates or self._prepared):
            return list(intervals)
        return [replace(one, before=self._and_then(one.before)) for one in intervals]

    def _and_then(self, next_step: Callable[[], None] | None) -> Callable[[], None]:
        def both() -> None:
            if next_step is not None:
                next_step()  # new values, for the first set
            self()

        return both


@contextlib.contextmanager
def plain_row(call: Callable[[int], Any], launches: int) -> Iterator[Callable[[], Any]]:
    """`in_a_row` as a context manager, the form in which timers that hold resources give their rows."""
    yield in_a_row(call, launches)
