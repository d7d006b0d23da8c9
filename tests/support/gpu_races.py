"""Races of small kernels by a GPU's stopwatches, for tests."""

from __future__ import annotations

from pytest_kgate.bench.race import race
from pytest_kgate.device.arm import Arm
from pytest_kgate.statistics.gates import SpeedGate

CYCLES = 20_000
"""About 10 us at the clocks of a data-centre GPU."""


def spin(device, cycles):
    def call(inputs, output):
        device.instruments.spin(device.stream, cycles)
        return inputs[0]

    return call


def raced(device, workload, candidate, reference, *, timer="graph", cache="hot", bound=0.95, seed=42):
    arms = (Arm("candidate", candidate, False), Arm("reference", reference, False))
    stopwatch = device.stopwatch(arms, workload, timer=timer, cache=cache)
    try:
        result = race.run(stopwatch, [SpeedGate(bound)], race.Plan(20.0, seed), device.clock)
    finally:
        stopwatch.close()
    return stopwatch, result
