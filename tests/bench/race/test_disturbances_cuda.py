"""What disturbs a race, on a real GPU: seen, and judged."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pytest_kgate.bench.race import race
from pytest_kgate.bench.race import retry
from pytest_kgate.bench.race.evidence import watch
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.gpu

CYCLES = 20_000
"""About 10 us at the clocks of a data-centre GPU."""

WORKING = """
import os, select, sys
if os.fork():
    os._exit(0)  # the one that goes on is nobody's child: only then is it foreign
import torch
size = torch.randn(4096, 4096, device="cuda")
torch.cuda.synchronize()
print("up", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    size @ size
    torch.cuda.synchronize()
"""


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@pytest.fixture
def neighbour(device):
    """A foreign process that keeps the GPU busy until the test ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "up"
    yield
    process.stdin.close()
    process.stdout.read()
    process.wait()
    end = time.monotonic() + 10  # its context goes a little later than its last output
    while device.read_machine().foreign_processes and time.monotonic() < end:
        time.sleep(0.05)


def stopwatch_of(device, candidate, reference, **keywords):
    import torch

    def spin(cycles):
        def call(inputs, output):
            device.instruments.spin(device.stream, cycles)
            return inputs[0]

        return call

    workload = Workload(lambda seed: (torch.randn(1024, device="cuda"),), lambda inputs: torch.empty_like(inputs[0]))
    arms = (Arm("candidate", spin(candidate), False), Arm("reference", spin(reference), False))
    return device.stopwatch(arms, workload, **{"timer": "graph", "cache": "hot", **keywords})


def raced(device, **keywords):
    stopwatch = stopwatch_of(device, int(0.88 * CYCLES), CYCLES, **keywords)
    try:
        return retry.race_with_retry(device, stopwatch, [SpeedGate(0.95)], race.Plan(20.0, 42))
    finally:
        stopwatch.close()


@pytest.mark.parametrize("timer", ["graph", "queue", "eager"])
def test_undisturbed_race_is_trusted_at_once(device, timer):
    found = raced(device, timer=timer)
    assert found.invalid is None, found.facts
    assert len(found.facts["tries"]) == 1
    if timer != "eager":  # there the launch counts, and the ratio is nearer to 1
        assert found.race.judgements[0].verdict is Verdict.PASS


def test_machine_tells_its_temperature_and_knows_that_nobody_else_is_there(device):
    reading = device.read_machine()
    assert reading is not None
    assert 0 < reading.temperature_c < 120
    assert reading.throttle is not None
    assert reading.foreign_processes == 0


def test_reading_the_machine_costs_less_than_a_hundredth_of_the_time_between_readings(device):
    costs = sorted(device.read_machine().seconds for _ in range(20))
    assert costs[10] < 0.01 * watch._EVERY_SECONDS


def test_foreign_process_is_found_and_the_race_is_not_trusted(device, neighbour):
    assert device.read_machine().foreign_processes == 1
    found = raced(device)
    assert "another process had the GPU open" in found.invalid
    assert len(found.facts["tries"]) == 2


def test_race_is_trusted_again_once_the_foreign_process_is_gone(device):
    assert raced(device).invalid is None


@pytest.mark.parametrize("timer", ["graph", "queue", "eager"])
def test_cold_cache_is_proven_cold(device, timer):
    """What the timers do before a sample empties the L2: a load takes at least 1.3 times as long."""
    found = raced(device, timer=timer, cache="cold").facts["cold"]
    assert found["flushed_cycles"] > 1.3 * found["hot_cycles"] > 0


def test_cache_that_nothing_empties_is_found_to_be_hot(device):
    from pytest_kgate.device.cuda.timers.cold_cache import cold_probe

    found = cold_probe(device, lambda: None)
    assert found.flushed_cycles < 1.1 * found.hot_cycles
    with pytest.raises(TimingError, match="is not cold"):
        found.required()


def test_hit_in_the_cache_takes_a_few_hundred_cycles(device):
    """Below 100 an L1 would have answered."""
    from pytest_kgate.device.cuda.timers.cold_cache import cold_probe

    assert 100 < cold_probe(device, lambda: None).hot_cycles < 600
