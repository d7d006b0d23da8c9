"""The rig of a simulated device: the same gates without hardware, and true ratios that are known exactly."""

from __future__ import annotations

from typing import Any

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
from pytest_kgate.validation.calibrate.cases import BEHIND_A_GRAPH
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.rigs.rig import Contest

_CLOCK_HZ = 2e9
_FLOOR_SECONDS = 1e-6
_NULL_SECONDS = 0.98e-6
"""Latency of an empty kernel, a little below the floor of a spin, whose loop it lacks."""

_QUIET = Mixture((White(0.01), RoundOffset(0.003)))

NOISES: dict[str, Noise] = {
    "white": _QUIET,
    "race-offset": Mixture((_QUIET, RaceOffset(0.005))),
}
"""By the name after `fake:`. `race-offset` breaks what the statistics assume, so the protocol must notice it."""

_SECONDS = {"sdpa-fastest": 11e-6, "gemm": 5e-6}


class FakeRig:
    """Makes a fake device of its own for every pair of arms, seeded by the gate."""

    kind = "fake"
    lease_name = "fake"

    def __init__(self, noise: str) -> None:
        if noise not in NOISES:
            raise UsageError(f"The fake device has no noise {noise!r}.", f"Use one of {', '.join(NOISES)}.")
        self._noise = NOISES[noise]
        self.device = FakeDevice({}, self._noise)

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """Make a kernel race itself; launched by a graph it is faster for the eager timer only, as on a GPU."""
        seconds = _SECONDS.get(case.kernel, 11e-6)
        trap = case == BEHIND_A_GRAPH and timer == "eager"
        return self._contest(0.32 * seconds if trap else seconds, seconds, seed)

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Make spins whose latencies are exactly those of `spin_model.py`."""
        seconds = _NULL_SECONDS if candidate is None else _FLOOR_SECONDS + candidate / _CLOCK_HZ
        return self._contest(seconds, _FLOOR_SECONDS + reference / _CLOCK_HZ, seed)

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """A simulated spin ends on time: the cycles that were asked for."""
        return float(cycles)

    def clock_hz(self) -> float:
        """The simulated clock."""
        return _CLOCK_HZ

    def _contest(self, candidate: float, reference: float, seed: int) -> Contest:
        device = FakeDevice({"candidate": candidate, "reference": reference}, self._noise, seed=seed)
        return Contest(device, (_arm("candidate"), _arm("reference")), Workload(lambda seed: (seed,), lambda _: None))


def _arm(name: str) -> Arm:
    def call(inputs: tuple[Any, ...], output: Any) -> Any:
        return inputs[0]

    return Arm(name, call, takes_output=False)
