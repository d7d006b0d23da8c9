"""What a gate holds at once, what is planned of it, and what becomes of one that has no room."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from pathlib import Path

import pytest
import torch

from pytest_kgate.bench.call import run
from pytest_kgate.bench.correctness.comparison import slabs
from pytest_kgate.bench.correctness.exact import answer
from pytest_kgate.bench.memory import plan as plans
from pytest_kgate.bench.memory.plan import MemoryPlan
from pytest_kgate.bench.memory.plan import Sizes
from pytest_kgate.bench.race import probes
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device import probe_rows
from pytest_kgate.device import rows
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError
from pytest_kgate.integrity.global_state import of_malloc
from pytest_kgate.integrity.side_effects import memoization
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import fingerprint
from pytest_kgate.statistics.gates import SpeedGate

MIB = 2**20
GIB = 2**30

BYTES = 4 * MIB

PROBLEMS = {
    "output": (lambda x: x.expand(BYTES // 4).clone(), lambda x: x.double().expand(BYTES // 4).clone(), 1),
    "both": (torch.relu, lambda x: torch.relu(x.double()), BYTES // 4),
}

_LIBC_MMAP_THRESHOLD = -3

_FROM_MAPPING = 2**16
"""Bytes from which a block is a mapping of its own. A slab (2**16 numbers) is one: on the heap such blocks left holes
that grew by up to 30 MiB, as chance and the process's other threads would have it."""

_TRIES = 3
"""On a machine that others load, a race can end as INVALID before the last steps."""


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


@pytest.fixture
def _all_is_large(monkeypatch):
    """Sizes from which memory counts, made small; each tensor a mapping that the system gets back at once."""
    monkeypatch.setattr(slabs, "_SLAB_ELEMENTS", 2**16)
    monkeypatch.setattr(fingerprint, "_BLOCK_WORDS", 2**16)
    monkeypatch.setattr(answer, "_LARGE_BYTES", MIB)
    monkeypatch.setattr(answer, "_PIECE_BYTES", MIB)
    monkeypatch.setattr(probe_rows, "_HELD_BYTES", MIB)
    monkeypatch.setattr(probes, "_KEPT_BYTES", MIB)
    monkeypatch.setattr(rows, "_COPIED_BYTES", MIB)
    monkeypatch.setattr(memoization, "_LARGE_BYTES", MIB)
    monkeypatch.setattr(plans, "_LARGE_BYTES", MIB)
    monkeypatch.setattr(plans, "_KEPT_BYTES", MIB)
    monkeypatch.setattr(of_malloc, "of_malloc", list)  # its look leaves the heap larger by a block
    libc = ctypes.CDLL(None)
    libc.mallopt(_LIBC_MMAP_THRESHOLD, _FROM_MAPPING)
    yield
    libc.mallopt(_LIBC_MMAP_THRESHOLD, 32 * MIB)


@pytest.fixture(scope="module")
def _all_is_loaded():
    gate(problem_of("both", 1024), HostDevice(), budget=0.2)


def problem_of(what, count=None):
    reference, exact, own = PROBLEMS[what]
    count = count or own
    return Problem(name=what, inputs=lambda g: (torch.randn(count, generator=g),), reference=reference, exact=exact)


def gate(problem, device, budget=10.0):
    settings = Settings(budget=budget, foreign_load="warn")
    request = Request("test", 0, lambda x: problem.reference(x), problem, (SpeedGate(50.0),), None, settings)
    return run(request, device, ReferencePicker(), {}, print).record


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
@pytest.mark.parametrize("what", PROBLEMS)
@pytest.mark.usefixtures("_all_is_loaded", "_all_is_large")
def test_a_gate_takes_a_few_times_the_memory_of_its_tensors(what):
    problem = problem_of(what)
    for _ in range(_TRIES):
        gc.collect()  # of other tests, whose garbage would go, or stay, during the gate
        ctypes.CDLL(None).malloc_trim(0)
        peak = Peak()
        peak.start()
        try:
            record = gate(problem, HostDevice())
        finally:
            peak.over = True
            peak.join()
        if record["integrity"]["checks"]["memory"] == "passed":
            break
    # To the last step. That constants of the package are others is told, too.
    assert record["integrity"]["checks"]["memory"] == "passed", (record["verdict"], record["reason"])
    memory = record["memory"]
    size = memory["inputs_bytes"] + memory["outputs_bytes"]
    assert size == pytest.approx({"output": 1, "both": 2}[what] * BYTES, rel=0.01)
    # Of an answer whose rows have nothing to do with an input's, the exact one is made at once: twice the output.
    assert peak.top - peak.begin < (6 if what == "output" else 4) * size + 12 * MIB
    assert max(memory["needed_bytes"].values()) < peak.top - peak.begin + size
    assert memory["given_up"] == []


def test_the_plan_counts_with_the_sizes_that_steps_go_by():
    assert plans._LARGE_BYTES == probe_rows._HELD_BYTES == memoization._LARGE_BYTES
    assert plans._KEPT_BYTES == probes._KEPT_BYTES


class Small(HostDevice):
    """A host with little memory."""

    def available_bytes(self):
        return 20 * MIB


def test_a_problem_that_has_no_room_says_so_before_the_candidate_runs():
    called = []
    problem = problem_of("both")
    request = Request("test", 0, called.append, problem, (SpeedGate(1.0),), None, Settings())
    record = run(request, Small(), ReferencePicker(), {}, print).record
    assert (record["verdict"], called) == ("ERROR", [])
    assert record["memory"]["available_bytes"] == 20 * MIB
    assert " of both needs " in record["reason"]
    assert "20 MiB of the host are free. Use a smaller shape: inputs and outputs of" in record["reason"]


def plan(inputs, outputs, available, *, on_gpu=True, exact=2.0, reference=0.0):
    """Sizes in GiB; the exact answer in outputs."""
    sizes = Sizes(int(inputs * GIB), int(outputs * GIB), int(exact * outputs * GIB), 0, int(reference * GIB))
    return MemoryPlan(sizes, on_gpu, False, int(available * GIB))


@pytest.mark.parametrize(
    ("inputs", "outputs", "available", "outcome"),
    [
        (3, 3, 23, "fits"),
        (3.5, 3.5, 23, "answers on the host"),
        (4, 4, 23, "no room"),
        (0, 4, 23, "fits"),
        (7, 0.1, 23, "fits"),
        (13.5, 13.5, 79, "no room"),
        (12, 12, 79, "answers on the host"),
    ],
)
def test_comfort_is_given_up_before_the_gate(inputs, outputs, available, outcome):
    made = plan(inputs, outputs, available)
    if outcome == "no room":
        with pytest.raises(ProblemError, match=r"needs .* GiB of memory \(.*\), and .* GiB of the GPU are free"):
            made.demand_room("it", races=True)
        return
    made.demand_room("it", races=True)
    assert made.keeps_answers_on_host == (outcome == "answers on the host")


def test_most_that_a_step_holds_is_four_times_inputs_and_outputs_and_what_the_reference_takes():
    for inputs, outputs in [(1, 1), (0, 1), (1, 0), (2, 1), (1, 2), (8, 1)]:
        for on_gpu in (True, False):
            made = plan(inputs, outputs, 1000, on_gpu=on_gpu, reference=0.5)
            most = max(sum(step.values()) for step in (made.check, made.race, made.verify, made.watch))
            assert most <= (4 * (inputs + outputs) + 0.5) * GIB


KINDS = {
    "as much out as in (`relu`)": (1, 1),
    "square product (two inputs)": (2, 1),
    "a large input, little out (`sum`)": (1, 0),
    "a large output of little": (0, 1),
}
"""As docs/memory.md names them: draws of inputs and outputs, in tensors."""


def largest(inputs, outputs, free, *, comfort):
    """GiB of a tensor with which a gate has room on a GPU, in steps of 0.1."""

    def has_room(size):
        made = plan(inputs * size, outputs * size, free)
        if comfort:
            return max(sum(step.values()) for step in (made.check, made.race, made.verify, made.watch)) <= free * GIB
        try:
            made.demand_room("it", races=True)
        except ProblemError:
            return False
        return True

    return max(tenths for tenths in range(1, 10 * free) if has_room(tenths / 10)) / 10


def test_what_fits_a_card_is_what_the_page_says():
    page = (Path(__file__).parents[2] / "docs/memory.md").read_text(encoding="utf-8")
    told = page.partition("<!-- kgate:memory -->")[2].partition("<!-- /kgate:memory -->")[0].splitlines()[3:]
    for name, (inputs, outputs) in KINDS.items():
        cells = (
            " / ".join(f"{largest(inputs, outputs, free, comfort=comfort):.1f}" for comfort in (True, False))
            for free in (23, 79, 139)
        )
        assert f"| {name} | {' | '.join(cells)} |" in told
