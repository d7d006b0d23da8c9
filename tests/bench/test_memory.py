"""What a check, a race and the watching of a candidate hold at once, on inputs and an output of many megabytes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from pytest_kgate.bench.call import run
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.problem import Problem
from pytest_kgate.statistics.gates import SpeedGate

BYTES = 36 * 2**20
"""Each an allocation of its own to the operating system, which gets it back at once."""

PROBLEMS = {
    "output": (lambda x: x.expand(BYTES // 4).clone(), lambda x: x.double().expand(BYTES // 4).clone(), 1),
    "both": (torch.relu, lambda x: torch.relu(x.double()), BYTES // 4),
}


class Peak(threading.Thread):
    """Reads the process's memory all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.begin = self.top = self.now()
        self.over = False

    @staticmethod
    def now():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def run(self):
        while not self.over:
            self.top = max(self.top, self.now())
            time.sleep(0.001)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("what", PROBLEMS)
def test_a_gate_takes_a_few_times_the_memory_of_its_tensors(what):
    reference, exact, count = PROBLEMS[what]

    def inputs(generator):
        return (torch.randn(count, generator=generator),)

    problem = Problem(name=what, inputs=inputs, reference=reference, exact=exact)
    settings = Settings(budget=0.1, foreign_load="warn")
    request = Request("test", 0, lambda x: reference(x), problem, (SpeedGate(50.0),), None, settings)
    peak = Peak()
    peak.start()
    try:
        record = run(request, HostDevice(), ReferencePicker(), {}, print).record
    finally:
        peak.over = True
        peak.join()
    assert record["correctness"]["verdict"] == "PASS"
    size = {"output": 1, "both": 2}[what] * BYTES
    # The exact answer alone is twice the output; and some 60 MiB are there whatever the size: comparing, PyTorch's own.
    assert peak.top - peak.begin < (8 if what == "output" else 5) * size + 64 * 2**20
