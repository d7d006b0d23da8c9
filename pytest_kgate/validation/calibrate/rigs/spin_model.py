"""The model of a spin kernel's latency as a timer should read it, and so the true ratio of two of them. Pure.

The model is one line: reading(cycles) = floor + cycles / clock.

- `clock` is the SM clock in cycles per second. It comes from two spins of milliseconds, long and short, between events:
  the difference of their times leaves out whatever a launch costs.
- `floor` is what the timer in use reads of a short spin beyond its cycles: the launch of one kernel after another, as
  far as the timer counts it, and the handful of instructions around the loop. It is measured, not assumed, by the same
  timer and cache, right before and right after each gate; the mean of both counts. An empty kernel is measured in the
  same rounds, for comparison.

A spin ends a little late, by up to a turn of its loop, some tens of cycles; `cycles` are those that the kernel counts
itself, less those of a spin of 0 cycles, which are a part of the floor. The launches of one spin differ in length,
evenly around their mean, which is what counts; `trial.py` says why.

So the truth of a gate is (floor + candidate cycles / clock) / (floor + reference cycles / clock), and cycles are chosen
so that it lands on the wanted ratio with the floor included.

What the model can't know: whether the floor of an empty kernel is also the floor of one that runs longer. If launching
overlapped with running, a long kernel's reading would hold less of the floor than the model says, and the ratio read
would be off from the "truth". That is why a gate keeps its readings of both arms beside the model's: an error of the
floor shows as the same number of nanoseconds on candidate and reference, while the difference of both readings must be
(difference in cycles) / clock whatever the floor is.
"""

from __future__ import annotations

from dataclasses import dataclass

_FEWEST_CYCLES = 100
"""Below this a spin kernel is nothing but its floor."""


@dataclass(frozen=True)
class LaunchFloor:
    """A timer's reading of kernels that do nothing, in seconds; about 0, or below, where it takes that off itself."""

    spin_seconds: float
    """Of a short spin beyond its cycles: the floor of the model."""
    null_seconds: float
    """Of an empty kernel, for comparison."""


@dataclass(frozen=True)
class SpinModel:
    """The latency of spin kernels by one timer's launch floor and the SM clock."""

    floor_seconds: float
    clock_hz: float

    def reading(self, cycles: float) -> float:
        """The seconds that the timer should read of a spin of so many cycles."""
        return self.floor_seconds + cycles / self.clock_hz

    def ratio(self, candidate_cycles: float, reference_cycles: float) -> float:
        """The true ratio of the readings."""
        return self.reading(candidate_cycles) / self.reading(reference_cycles)

    def cycles_for(self, seconds: float) -> int:
        """Cycles of a spin that reads `seconds`, or the fewest that make sense where the floor is as long."""
        return max(_FEWEST_CYCLES, round((seconds - self.floor_seconds) * self.clock_hz))

    def pair(self, seconds: float, ratio: float, spread: int) -> tuple[int, int]:
        """Cycles of a candidate and a reference whose readings have this ratio, the reference's `seconds` long.

        Longer where the launch floor leaves the shorter one no cycles: its launches differ by up to `spread` cycles,
        and none may be told to spin for fewer than none.
        """
        reference = self.cycles_for(max(seconds, self.reading(2 * spread) / min(ratio, 1.0)))
        # The wanted ratio is that of the readings, so the floor is a part of both sides of it.
        return self.cycles_for(ratio * self.reading(reference)), reference


def mean_model(floors: tuple[LaunchFloor, ...], clocks_hz: tuple[float, ...]) -> SpinModel:
    """The model of a gate from what was measured before and after it."""
    return SpinModel(
        floor_seconds=sum(floor.spin_seconds for floor in floors) / len(floors),
        clock_hz=sum(clocks_hz) / len(clocks_hz),
    )
