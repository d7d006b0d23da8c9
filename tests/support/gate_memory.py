"""What a gate on the host holds at most, measured in a process of its own.

In a process that has run many tests, the holes of its heap fill and empty by tens of megabytes while a gate runs.
Prints a line of JSON for each problem: its name, the bytes beyond those at the start, and parts of the record.
"""

from __future__ import annotations

import ctypes
import gc
import json
from pathlib import Path

import torch

from pytest_kgate.bench.call import run
from pytest_kgate.bench.correctness.comparison import slabs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.exact import answer
from pytest_kgate.bench.memory import plan as plans
from pytest_kgate.bench.race import probes
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device import probe_rows
from pytest_kgate.device import rows
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.global_state import of_malloc
from pytest_kgate.integrity.side_effects.memories import memoization
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import fingerprint
from pytest_kgate.statistics.gates import SpeedGate

MIB = 2**20

BYTES = 4 * MIB
"""Of each large tensor."""

PROBLEMS = {
    "output": (lambda x: x.expand(BYTES // 4).clone(), lambda x: x.double().expand(BYTES // 4).clone(), 1),
    "both": (torch.relu, lambda x: torch.relu(x.double()), BYTES // 4),
}

_LIBC_MMAP_THRESHOLD = -3

_FROM_MAPPING = 2**16
"""Bytes from which a block is a mapping of its own, which the system gets back at once. A slab (2**16 numbers) is one:
on the heap such blocks left holes."""

_TRIES = 3
"""On a machine that others load, a race can end as INVALID before the last steps."""


class Peak:
    """The most memory that this process has held since it was made, by the kernel's own account.

    A thread that reads the memory now and then waits for the interpreter, and misses what the calls in between take.
    """

    def __init__(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the mark begins anew
        self.begin = self._mark()

    @staticmethod
    def _mark():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    def grown(self):
        """Bytes beyond those at the start."""
        return self._mark() - self.begin


def problem_of(what, count=None):
    reference, exact, own = PROBLEMS[what]
    count = count or own
    return Problem(name=what, inputs=lambda g: (torch.randn(count, generator=g),), reference=reference, exact=exact)


def gate(problem, device, budget=4.0):
    settings = Settings(budget=budget, foreign_load="warn", clean="off")
    request = Request("test", 0, lambda x: problem.reference(x), problem, (SpeedGate(50.0),), None, settings)
    return run(request, device, ReferencePicker(), {}, print).record


def make_all_large():
    """Sizes from which memory counts are made small."""
    slabs._SLAB_ELEMENTS = 2**16
    probes._KEPT_ON_HOST_BYTES = plans._KEPT_ON_HOST_BYTES = MIB
    fingerprint._BLOCK_WORDS = 2**16
    answer._LARGE_BYTES = answer._PIECE_BYTES = MIB
    probe_rows._HELD_BYTES = probes._KEPT_BYTES = rows._COPIED_BYTES = memoization._LARGE_BYTES = MIB
    plans._LARGE_BYTES = plans._KEPT_BYTES = MIB
    of_malloc.of_malloc = list  # its look leaves the heap larger by a block


def measured(what):
    for _ in range(_TRIES):
        peak = Peak()
        record = gate(problem_of(what), HostDevice())
        grown = peak.grown()
        # To the last step. That constants of the package are others is told, too.
        if record["integrity"]["checks"]["memory"] == "passed":
            break
    told = {key: record[key] for key in ("verdict", "reason", "memory")}
    return {"what": what, "peak": grown, "last_step": record["integrity"]["checks"]["memory"], **told}


def compared(count):
    """What comparing an answer of so many numbers of 16 bits with the exact one takes beside both."""
    exact = torch.linspace(-1, 1, count, dtype=torch.float64)
    answer = exact.half()
    peak = Peak()
    truth = ExactAnswer(exact, answer)
    assert not truth.compare(answer, truth.limits(None)).failed
    return {"what": "comparison", "peak": peak.grown()}


if __name__ == "__main__":
    ctypes.CDLL(None).mallopt(_LIBC_MMAP_THRESHOLD, _FROM_MAPPING)
    compared(2 * slabs._SLAB_ELEMENTS)  # so that all is loaded, and all threads have begun
    print(json.dumps(compared(8 * MIB)))
    make_all_large()
    gate(problem_of("both", 2**16), HostDevice(), budget=0.2)  # the same
    for name in PROBLEMS:
        print(json.dumps(measured(name)))
