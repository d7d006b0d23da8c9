"""What a race needs of a device: one small protocol that CUDA, the host and the fake device implement."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True)
class Workload:
    """What the arms work on; the stopwatch draws new inputs from it every round."""

    draw: Callable[[int], tuple[Any, ...]]
    """`draw(seed)`: fresh input tensors on the device."""

    make_output: Callable[[tuple[Any, ...]], Any]
    """A new output tensor for these inputs, filled with NaN."""

    def output_for(self, arm: Arm, inputs: tuple[Any, ...]) -> Any:
        """A new output for this arm to write to; None where it allocates its own."""
        return self.make_output(inputs) if arm.takes_output else None


@dataclass(frozen=True)
class Probe:
    """How the candidate took new values in the buffers of a round, somewhere among the timed launches."""

    answers: tuple[tuple[int, Any], ...]
    """(seed of the draw whose values they were, copy of the candidate's output), each made right behind a launch that
    nothing had announced."""

    first_touch_excess_seconds: tuple[float, float]
    """By arm: how much longer the launches that were the first to see the values took than the slowest others."""

    overlap_seconds: float | None = None
    """How much longer one of the candidate's calls takes between two launches that let it overlap with no other call
    than in the round's rows; None where the timer lets no two calls meet."""


@dataclass(frozen=True)
class RoundSeeds:
    """What is drawn for one round, from seeds of which none tells another."""

    values: int
    """Of the inputs."""
    layout: int
    """Of the order in which things are made, and of how far their addresses move."""
    probes: tuple[int, ...] = ()
    """Of the new values in the three rows of a probed round; empty for a round that is left alone."""


@dataclass(frozen=True)
class Round:
    """What one round measured. Index 0 of the first axis is the candidate, 1 the reference."""

    seconds: NDArray[np.float64]
    """(2, samples): net latency of one call, in seconds."""

    overhead_seconds: NDArray[np.float64]
    """(2,): what was taken off each sample of the arm: the median of the null arm, or the graph's intercept."""

    retaken: int = 0
    """Samples that were thrown away and taken again because the host was late; never for their value."""

    evidence: Mapping[str, float] = field(default_factory=dict)
    """Device readings made around the round, by name with unit: `sm_clock_hz`, `temperature_c`."""

    probe: Probe | None = None
    """Of a round that was asked for one."""


@dataclass(frozen=True)
class Reading:
    """What the machine said of itself between two rounds; None for what it does not tell."""

    throttle: int | None = None
    """NVML's bit mask of clocks event reasons; `bench.race.disturbances.THROTTLING` names those that matter."""
    temperature_c: float | None = None
    foreign_processes: int | None = None
    """Processes with a compute context on the device that are not ours."""
    seconds: float = 0.0
    """What the reading cost."""


@dataclass(frozen=True)
class ColdCache:
    """SM clock cycles that one dependent load takes, in the cache and after what is to empty it."""

    hot_cycles: float
    flushed_cycles: float

    def required(self) -> ColdCache:
        """These readings, where they show that the cache was emptied; raises `TimingError` where they don't."""
        if self.flushed_cycles < _COLD_RATIO * self.hot_cycles:
            raise TimingError(
                f"The cold cache is not cold: a load takes {self.flushed_cycles:.0f} cycles after the cache was "
                f"emptied, and {self.hot_cycles:.0f} from a warm one.",
                "Use --kgate-cache hot on this GPU.",
            )
        return self


class Stopwatch(Protocol):
    """Times the two arms of one race, one round at a time; made by `Device.stopwatch`."""

    timer: str
    """`graph`, `queue`, `eager`, `wall` or `fake`: what was really used."""

    cache: str
    """`hot` or `cold`."""

    warnings: list[str]
    """What a reader of the record must know: a fallback and why."""

    tick_seconds: float
    """The smallest step this timer can show on one sample."""

    run_length: int
    """How many samples of one arm are taken in a row: 1, unless changing arms is costly."""

    @property
    def sample_seconds(self) -> float:
        """About what one sample of both arms takes, in seconds; a race plans its rounds with it."""
        ...

    @property
    def reference_seconds(self) -> float:
        """About the latency of one of the reference's calls, in seconds."""
        ...

    def prove_cold(self) -> ColdCache | None:
        """What shows that a cold cache is cold; None with a hot one, or where the timer has no proof to give.

        Raises `TimingError` where it is not cold.
        """
        ...

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """Make everything anew, warm up, time the arms in `order` (a shuffled sequence of 0 and 1).

        Where `seeds` has probes, launches beyond those samples, at random places among them, work on their values.
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
        """Built-in types only: what a reader needs to judge whether two records compare."""
        ...

    def stopwatch(self, arms: Sequence[Arm], workload: Workload, *, timer: str, cache: str) -> Stopwatch:
        """Choose how these arms can be timed; `timer` may be `auto`."""
        ...

    def admit(self, pid: int) -> None:
        """A process that this one has started and will wait for may use the device, too: it disturbs no race."""
        ...

    def read_machine(self) -> Reading | None:
        """What disturbs the device now; None where nothing tells. Takes up to 2 ms: for between rounds."""
        ...

    def running(self, doing: str) -> AbstractContextManager[None]:
        """Around all that runs kernels: no autograd, and faults and lack of memory become `CandidateError`."""
        ...

    def synchronize(self) -> None:
        """Wait until the device is idle; raises what a faulted kernel left behind."""
        ...

    def clock(self) -> float:
        """Seconds on a monotonic clock, for the race's budget."""
        ...
