"""The protocols of a device and its stopwatch, which CUDA, the host and the fake device implement, and their data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from pytest_kgate.errors import TimingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_kgate.device.arm import Arm

    Floats = NDArray[np.float64]

_COLD_RATIO = 1.3
"""A load after the cache was emptied must take this much longer than a hit; an L2 that was left alone reads 1.0."""

THROTTLING = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (by the driver)",
    0x40: "heat (by the hardware)",
    0x80: "power brake",
}
"""NVML's clocks event reasons that slow a kernel down. The others (idle, clocks set by the user) disturb no race."""

_CLEARED_TWICE_BYTES = 2**24
"""Outputs up to this size are cleared twice by `Workload.clear_freed`."""


@dataclass(frozen=True)
class Workload:
    """A source of inputs and outputs for the arms; the stopwatch draws new inputs from it every round."""

    draw: Callable[[int], tuple[Any, ...]]
    """`draw(seed)`: fresh input tensors on the device."""

    make_output: Callable[[tuple[Any, ...]], Any]
    """A new output for these inputs, filled with NaN: what an arm writes to, a tensor or a tree of some."""

    mutates: tuple[int, ...] = ()
    """Positions of the inputs that a call changes, which are part of its answer."""

    make_room: Callable[[tuple[Any, ...]], Any] | None = None
    """Where calls change inputs: room for a whole answer to be kept in. None where that is what `make_output` makes."""

    def fixed(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, with None in place of those that a call may change."""
        return tuple(None if place in self.mutates else one for place, one in enumerate(inputs))

    def clear_freed(self, inputs: tuple[Any, ...]) -> None:
        """Write NaN where outputs have just been freed: an output that is allocated next finds it there, no old answer.

        Two are written at once, since a row of calls frees one while it holds another. Of large outputs one is: to
        write them takes as long as a call.
        """
        from pytest_kgate.problems.trees import tree  # needs PyTorch, which a fake device does without

        once = self.make_output(inputs)
        if tree.size_bytes(once) <= _CLEARED_TWICE_BYTES:
            self.make_output(inputs)

    def output_for(self, arm: Arm, inputs: tuple[Any, ...]) -> Any:
        """A new output for this arm to write to; None where it allocates its own."""
        return self.make_output(inputs) if arm.takes_output else None

    @contextlib.contextmanager
    def one_call(self, arm: Arm, inputs: tuple[Any, ...]) -> Iterator[Any]:
        """The output of an untimed call, NaN where the arm allocates its own; afterwards the inputs are put back."""
        from pytest_kgate.problems.trees import tree  # needs PyTorch, which a fake device does without

        before = {place: tree.copy(inputs[place]) for place in self.mutates}
        output = self.output_for(arm, inputs)
        if output is None:
            self.clear_freed(inputs)
        yield output
        for place, values in before.items():
            tree.write(inputs[place], values)

    def make_answer(self, inputs: tuple[Any, ...]) -> Any:
        """New memory, filled with NaN, for a copy of the answer to these inputs, changed inputs included."""
        return (self.make_room or self.make_output)(inputs)


@dataclass(frozen=True)
class FirstLook:
    """Rows of one arm in a probed round: the one that was the first to see values, and those on values seen before."""

    new_seconds: float
    """Of the row that found new values in its buffers."""
    old_seconds: tuple[float, ...]
    """Of each of the round's other rows of this arm and length."""


@dataclass(frozen=True)
class Probe:
    """The answers and times of the launches of a round that found new values in their buffers, among the timed ones."""

    answers: tuple[tuple[int, Any], ...]
    """(seed of the new values, copy of the candidate's output), each copied right after a launch that nothing had
    announced."""

    first_looks: tuple[FirstLook, FirstLook]
    """By arm: how long launches took that were the first to see values, and the others of the round."""

    overlap_seconds: float | None = None
    """Seconds by which a call of the candidate takes longer between two empty launches, which let it overlap with no
    other call, than in the round's rows; None where the timer lets no two calls overlap."""

    kept: Any = None
    """What of the round's inputs was none of the device's memory, as `tree.outside` gives it: it stayed as it was."""


@dataclass(frozen=True)
class RoundSeeds:
    """The seeds of one round, none of which can be computed from another."""

    values: int
    """Of the inputs."""
    layout: int
    """Of the order in which things are made, and of how far their addresses move."""
    probes: tuple[int, ...] = ()
    """Of the new values in the three rows of a probed round; empty for a round that is left alone."""


@dataclass(frozen=True)
class Round:
    """The measurements of one round.

    Index 0 of the first axis is the candidate, 1 the reference; further candidates that share the round come behind.
    """

    seconds: NDArray[np.float64]
    """(arms, samples): net latency of one call, in seconds."""

    overhead_seconds: NDArray[np.float64]
    """(arms,): what was taken off each sample of the arm: the median of the null arm, or the graph's intercept."""

    retaken: int = 0
    """Samples that were thrown away and taken again because the host was late; never for their value."""

    evidence: Mapping[str, float] = field(default_factory=dict)
    """Device readings made around the round, by name with unit: `sm_clock_hz`, `temperature_c`."""

    probe: Probe | None = None
    """The probe of a round whose seeds had some for it."""


@dataclass(frozen=True)
class Reading:
    """One reading of what may disturb a race, made between two rounds; a field is None where the machine can't tell."""

    throttle: int | None = None
    """NVML's bit mask of clocks event reasons; `THROTTLING` names those that matter."""
    temperature_c: float | None = None
    foreign_processes: int | None = None
    """Processes with a compute context on the device that are not ours."""
    seconds: float = 0.0
    """How long the reading took."""


@dataclass(frozen=True)
class ColdCache:
    """Latency of one dependent load, in SM clock cycles: from the cache, and after the cache was to be emptied."""

    hot_cycles: float
    flushed_cycles: float

    def required(self) -> ColdCache:
        """Return this object where it shows that the cache was emptied; raises `TimingError` where it does not."""
        if self.flushed_cycles < _COLD_RATIO * self.hot_cycles:
            raise TimingError(
                f"The cold cache is not cold: a load takes {self.flushed_cycles:.0f} cycles after the cache was "
                f"emptied, and {self.hot_cycles:.0f} from a warm one.",
                "Use --kgate-cache hot on this GPU.",
            )
        return self


class Stopwatch(Protocol):
    """Times the arms of one race, one round at a time; made by `Device.stopwatch`."""

    timer: str
    """`graph`, `queue`, `eager`, `wall` or `fake`: what was really used."""

    cache: str
    """`hot` or `cold`."""

    warnings: list[str]
    """What a reader of the record must know: a fallback and why."""

    tick_seconds: float
    """The smallest step this timer can show on one sample."""

    offset_sd: float
    """Standard deviation of what the log ratio of a whole race is off by, from causes that its rounds share and can't
    show; 0 where both arms are launched by one process in the same way."""

    run_length: int
    """How many samples of one arm are taken in a row: 1, unless changing arms is costly."""

    enough_seconds: float
    """Samples of both arms in a round that take so long together are enough of them: what more of them would average
    out is then less than what differs from round to round."""

    @property
    def sample_seconds(self) -> float:
        """About how long one sample of each arm takes, all together, in seconds; a race plans its rounds with it."""
        ...

    @property
    def reference_seconds(self) -> float:
        """About the latency of one of the reference's calls, in seconds."""
        ...

    def prove_cold(self) -> ColdCache | None:
        """Measure that a cold cache is cold; None with a hot cache, or where the timer has no way to measure it.

        Raises `TimingError` where it is not cold.
        """
        ...

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """Make everything anew, warm up, time the arms in `order` (a shuffled sequence of their indices).

        Where `seeds` has probes, which only a race of two arms has, launches beyond those samples, at random places
        among them, work on their values.
        """
        ...

    def close(self) -> None:
        """Release what the race held; the device is idle afterwards."""
        ...


class Device(Protocol):
    """A place where kernels run and are timed."""

    kind: str
    """`cuda`, `host` or `fake`."""

    torch_device: str
    """Where tensors live: `cuda:0`, `cpu`."""

    @property
    def hung(self) -> bool:
        """Whether work is under way that will never end, so that the process can't exit in the usual way."""
        ...

    def environment(self) -> dict[str, Any]:
        """Hardware, driver and state, in built-in types: what tells whether two records can be compared."""
        ...

    def available_bytes(self) -> int | None:
        """Memory that new tensors can have; None where nothing tells."""
        ...

    def stopwatch(self, arms: Sequence[Arm], workload: Workload, *, timer: str, cache: str) -> Stopwatch:
        """Make the stopwatch of one race of these arms: a candidate, the reference, and any number of other candidates.

        Where `timer` is `auto` it is the timer that fits all of them.
        """
        ...

    def admit(self, pid: int) -> None:
        """Count a process that this one has started as ours, not as a foreign one that disturbs races."""
        ...

    def read_machine(self) -> Reading | None:
        """Read what disturbs the device now; None where nothing tells. Takes up to 2 ms: call it between rounds."""
        ...

    def running(self, doing: str) -> AbstractContextManager[None]:
        """The context in which kernels run: no autograd, and faults or a lack of memory raise `CandidateError`.

        `doing` says in such an error what was going on.
        """
        ...

    def synchronize(self) -> None:
        """Wait until the device is idle; raises `CandidateError` where a kernel faulted or hangs."""
        ...

    def clock(self) -> float:
        """Seconds on a monotonic clock, for the race's budget."""
        ...
