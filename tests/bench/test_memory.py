"""What a gate holds at once, what is planned of it, and what becomes of one that has no room."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import gate_memory
import pytest
from gate_memory import BYTES
from gate_memory import MIB
from gate_memory import PROBLEMS
from gate_memory import problem_of

from pytest_kgate.bench.call import run
from pytest_kgate.bench.memory import plan as plans
from pytest_kgate.bench.memory.plan import MemoryPlan
from pytest_kgate.bench.memory.plan import Sizes
from pytest_kgate.bench.race import probes
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device import probe_rows
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError
from pytest_kgate.integrity.side_effects.memories import memoization
from pytest_kgate.statistics.gates import SpeedGate

GIB = 2**30


@pytest.fixture(scope="module")
def measured():
    """What gates took in a process of their own, by problem."""
    done = subprocess.run([sys.executable, gate_memory.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {found["what"]: found for found in map(json.loads, done.stdout.splitlines())}


GLIBC = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")


KEPT = """
import ctypes
import torch
from pytest_kgate import Problem
from pytest_kgate.bench.correctness.exact.answer import exact_answer

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

ctypes.CDLL(None).mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: no block is a mapping of its own
start = resident()
blocks = [torch.ones(2**22) for _ in range(20)]
last = torch.ones(2**22)  # above them: the heap can't just be cut
del blocks
kept = resident() - start
seen = []
problem = Problem("x", lambda g: (), torch.clone, lambda x: seen.append(resident() - start) or x)
exact_answer(problem, (torch.ones(8),), torch.empty(2**23))
print(kept >> 20, seen[0] >> 20)
"""


@GLIBC
def test_what_malloc_has_kept_is_given_back_before_a_large_exact_answer():
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, then = map(int, done.stdout.split())
    assert kept > 250
    assert then < 100  # of which the answer's own block may be 32


@GLIBC
@pytest.mark.parametrize("what", PROBLEMS)
def test_a_gate_takes_a_few_times_the_memory_of_its_tensors(what, measured):
    found = measured[what]
    assert found["last_step"] == "passed", (found["verdict"], found["reason"])
    memory, peak = found["memory"], found["peak"]
    size = memory["inputs_bytes"] + memory["outputs_bytes"]
    assert size == pytest.approx({"output": 1, "both": 2}[what] * BYTES, rel=0.01)
    # Of an answer whose rows have nothing to do with an input's, the exact one is made at once: twice the output.
    assert peak < (6 if what == "output" else 4) * size + 12 * MIB
    assert max(memory["needed_bytes"].values()) < peak + size
    assert memory["given_up"] == []


@GLIBC
def test_a_comparison_takes_little_beside_what_it_compares(measured):
    assert measured["comparison"]["peak"] < 32 * MIB


@pytest.mark.parametrize("size", [32, 40, 48, 64])
def test_a_gate_of_answers_in_16_bits_holds_less_than_eight_of_them_on_the_host(size):
    made = plan(0, size / 1024, 1000, on_gpu=False, exact=4.0)
    assert max(sum(step.values()) for step in (made.check, made.race, made.verify, made.watch)) < 8 * size * MIB


def test_the_plan_counts_with_the_sizes_that_steps_go_by():
    assert plans._LARGE_BYTES == probe_rows._HELD_BYTES == memoization._LARGE_BYTES
    assert plans._KEPT_BYTES == probes._KEPT_BYTES
    assert plans._KEPT_ON_HOST_BYTES == probes._KEPT_ON_HOST_BYTES


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
