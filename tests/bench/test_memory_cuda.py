"""What a gate holds on a GPU: large outputs, a card of 24 GB, and what is given up there."""

from __future__ import annotations

import contextlib

import pytest
import torch

from pytest_kgate.bench.call import run
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.problems.problem import Problem
from pytest_kgate.statistics.gates import SpeedGate

pytestmark = pytest.mark.gpu

GIB = 2**30

SMALL_CARD = 23 * GIB
"""Of the 24 GB of a common card, what its driver and a desktop leave."""


@pytest.fixture
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@contextlib.contextmanager
def room_of(size_bytes):
    """PyTorch's allocator may hold no more."""
    total = torch.cuda.mem_get_info()[1]
    if total < size_bytes:
        pytest.skip("the GPU is smaller than that")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size_bytes / total)
    yield
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture
def small_card():
    with room_of(SMALL_CARD):
        yield


def relu(gib):
    rows = int(gib * GIB) // 4 // 1024
    return Problem(
        name=f"relu of {gib} GiB",
        inputs=lambda g: (torch.randn(rows, 1024, generator=g, device=g.device),),
        reference=torch.relu,
        exact=lambda x: torch.relu(x.double()),
    )


def gate(device, problem, candidate):
    """The record, and the most that PyTorch's allocator held, in bytes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    request = Request("test", 0, candidate, problem, (SpeedGate(2.0),), None, Settings(budget=20.0))
    record = run(request, device, ReferencePicker(), {}, print).record
    peak = torch.cuda.max_memory_reserved()
    print(f"{problem.name}: {record['verdict']} {record['reason']}; {peak / GIB:.1f} GiB; {record.get('memory')}")
    return record, peak


@pytest.mark.parametrize("gib", [0.5, 2.0])
def test_a_gate_needs_at_most_four_times_its_tensors(device, gib):
    with room_of((4 * 2 * gib + 0.5) * GIB):
        record, _ = gate(device, relu(gib), lambda x: torch.relu(x))
    assert record["verdict"] == "PASS", record["reason"]
    assert record["memory"]["given_up"] == []


@pytest.mark.parametrize("gib", [0.5, 2.0])
def test_on_a_large_card_pytorch_holds_little_more(device, gib):
    """It keeps what it has cached as long as nothing wants it: a GiB is left to it from step to step."""
    record, peak = gate(device, relu(gib), lambda x: torch.relu(x))
    assert record["verdict"] == "PASS", record["reason"]
    assert peak <= (4 * 2 * gib + 1.5) * GIB


@pytest.mark.usefixtures("small_card")
@pytest.mark.parametrize(
    ("gib", "given_up"), [(2.5, []), (3.5, ["answers of timed launches"])], ids=["in comfort", "without comfort"]
)
def test_a_card_of_24_gb_holds_three_gib_in_and_out(device, gib, given_up):
    record, peak = gate(device, relu(gib), lambda x: torch.relu(x))
    assert record["verdict"] == "PASS", record["reason"]
    assert record["memory"]["given_up"] == given_up
    assert peak <= SMALL_CARD


@pytest.mark.usefixtures("small_card")
def test_what_has_no_room_there_says_so_with_numbers(device):
    called = []
    record, _ = gate(device, relu(4), called.append)
    assert (record["verdict"], called) == ("ERROR", [])
    assert "relu of 4 GiB needs 24.0 GiB of memory (" in record["reason"]
    assert "GiB of the GPU are free. Use a smaller shape: inputs and outputs of 7." in record["reason"]


@pytest.mark.parametrize("overflows", [False, True], ids=["honest", "overflow"])
def test_an_output_of_four_gib_is_compared_to_its_last_row(device, overflows):
    """What lies beyond 2^31 elements is left out by an index of 32 bits."""
    count = 2**20 + 64

    def rows(x):
        return (-x).repeat(count // 4096 + 1, 1)[:count].contiguous()

    def candidate(x):
        answer = rows(x)
        if overflows:
            answer.view(-1)[2**31 :] = 0
        return answer

    problem = Problem(
        name="rows of 4 GiB",
        inputs=lambda g: (torch.randn(4096, 2048, generator=g, device=g.device).half(),),
        reference=rows,
        exact=lambda x: rows(x.double()),
    )
    record, _ = gate(device, problem, candidate)
    assert record["verdict"] == ("WRONG" if overflows else "PASS")


def test_a_cold_cache_is_emptied_before_single_calls_where_copies_have_no_room(device):
    from pytest_kgate.device.arm import bind
    from pytest_kgate.device.protocol import Workload

    table = torch.randn(2**20, 64, device="cuda")

    def draw(seed):
        index = torch.randint(2**20, (4096,), device="cuda", generator=torch.Generator("cuda").manual_seed(seed))
        return table.expand(1, *table.shape), index

    arm = bind("candidate", lambda table, index: table[0, index], {})
    workload = Workload(draw, lambda inputs: torch.empty(4096, 64, device="cuda"))
    roomy = device.stopwatch((arm, arm), workload, timer="graph", cache="cold")
    assert max(long for _, long in roomy.lengths) > 1
    roomy.close()
    device.available_bytes = lambda: 2**30
    tight = device.stopwatch((arm, arm), workload, timer="graph", cache="cold")
    assert tight.lengths == ((0, 1), (0, 1))
    assert any("no room for copies of the inputs" in warning for warning in tight.warnings)
    tight.close()
