"""Whether calls on new values take longer than calls on known ones: kinds of memories, and noise that is none."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects.freed_memory import free
from pytest_kgate.integrity.side_effects.memories import first_sight
from pytest_kgate.integrity.side_effects.memories import memoization
from pytest_kgate.integrity.side_effects.memories.timed_calls import LOOKS
from pytest_kgate.integrity.side_effects.memories.timed_calls import TimedCalls

WORKLOAD = Workload(
    lambda seed: (torch.randn(64, generator=torch.Generator().manual_seed(seed)),),
    lambda inputs: torch.full_like(inputs[0], float("nan")),
)
WORK_SECONDS = 0.3e-3


def timed(call, workload=WORKLOAD, **more):
    return memoization.time_calls(HostDevice(), Arm("candidate", call, False), workload, lambda n: 1 + n, 1e-3, **more)


def work(x):
    end = time.perf_counter() + WORK_SECONDS
    while time.perf_counter() < end:
        pass
    return x.relu()


def test_memory_that_works_for_show_now_and_then_is_told():
    """As slow on its slowest known values as on new ones: the first two times it sees some, and in bursts."""
    known, calls = {}, [0]

    def call(inputs, output):
        calls[0] += 1
        seen = known.setdefault(float(inputs[0][0]), [0, None])
        seen[0] += 1
        if seen[0] <= 2 or calls[0] % 41 < 4:
            seen[1] = work(inputs[0])
        return seen[1]

    found, _, _ = timed(call)
    assert list(found.findings(on_host=True))


def test_old_answer_in_freed_memory_is_overwritten_before_each_call():
    taken = []
    large = Workload(
        lambda seed: (torch.randn(1 << 15, generator=torch.Generator().manual_seed(seed)),), WORKLOAD.make_output
    )

    def call(inputs, output):
        stale = torch.empty_like(inputs[0])
        if np.array_equal(stale[-9:].numpy(), np.maximum(inputs[0][-9:].numpy(), 0)):
            taken.append(stale)
            return stale
        del stale  # so that the answer lies there
        return torch.relu(inputs[0])

    timed(call, large, doubted=True)
    assert not taken


def test_memory_that_a_candidate_keeps_is_not_overwritten():
    kept, array = torch.ones(64), np.ones(64, dtype=np.float32)
    for held in ([kept], [kept[1:]], [torch.from_numpy(array)], [(kept, None)]):
        free(held)
        assert held == []
    assert kept.sum() == array.sum() == 64


def test_values_within_trees_of_inputs_are_renewed():
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return ({"x": torch.randn(8, generator=generator)}, [torch.randn(8, generator=generator), 3])

    nested = Workload(draw, lambda inputs: torch.full_like(inputs[0]["x"], float("nan")))
    seen = set()

    def call(inputs, output):
        seen.add((float(inputs[0]["x"][0]), float(inputs[1][0][0])))
        return inputs[0]["x"] * inputs[1][0] * inputs[1][1]

    _, (first, (second, number)), answer = timed(call, nested)
    assert torch.equal(answer, first["x"] * second * number)
    assert len(seen) > 2 + 4  # the known ones, and as many new ones as there are pairs at least


def test_version_counters_do_not_tell_that_values_were_renewed():
    versions = set()

    def call(inputs, output):
        versions.add(inputs[0]._version)
        return inputs[0].relu()

    timed(call)
    assert len(versions) == 1


def test_what_a_processor_learns_of_values_that_come_at_once_again_is_no_memory_on_a_host():
    calls = TimedCalls((30e-6,) * 12, (29e-6,) * 12, (10e-6,) * 12)
    assert not list(calls.findings(on_host=True))
    (told,) = calls.findings(on_host=False)
    assert told == (
        "the candidate remembers answers: a call on new values takes 30.0 us, on the values of the call before 10.0 us."
    )


def test_sort_whose_branches_a_processor_learns_is_no_memory():
    """It takes three times as long on new values as on those of a few sets that come again and again."""

    def draw(seed):
        return (torch.randn(500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64),)

    def sort(x):
        return torch.from_numpy(np.sort(x.numpy(), kind="stable"))

    numbers = Workload(draw, WORKLOAD.make_output)
    for doubted in (False, True):
        calls, _, _ = timed(lambda inputs, _: sort(inputs[0]), numbers, doubted=doubted)
        assert not list(calls.findings(on_host=True))


@pytest.mark.parametrize("quick", [0, 3])
def test_memory_that_worked_for_show_in_all_first_pairs_but_one_is_looked_at_longer(quick):
    again = [230e-6] * 5
    again[quick] = 12e-6
    assert not TimedCalls(new=(230e-6,) * 5, again=tuple(again)).decided
    assert TimedCalls(new=(230e-6,) * 5, again=(230e-6,) * 5).decided


def test_nothing_is_said_of_a_few_pairs_or_of_a_few_microseconds():
    assert not list(TimedCalls((100e-6,) * 7, (10e-6,) * 7).findings(on_host=True))
    assert not list(TimedCalls((5e-6,) * 12, (1e-6,) * 12).findings(on_host=True))
    assert not list(TimedCalls((100e-6,) * 12, (100e-6,) * 12).findings(on_host=False))  # no call on the same values


@pytest.mark.parametrize("pairs", LOOKS)
def test_noise_is_taken_for_a_memory_no_more_often_than_promised(pairs):
    """On a host whose cores are all busy: calls of 20 us that wait for a core now and then, or most of the time."""
    rng = np.random.default_rng(pairs)
    accused = 0
    for _ in range(500):
        waits = rng.random((2, pairs)) < rng.random()
        new, again = 20e-6 * rng.lognormal(0, 0.3, waits.shape) + np.where(waits, 4e-3 * rng.random(waits.shape), 0)
        accused += bool(list(TimedCalls(tuple(new), tuple(again)).findings(on_host=True)))
    assert accused <= 1  # 0.01 are expected at most


def test_memory_that_works_in_a_quarter_of_its_calls_is_told_by_the_last_look():
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(100):
        again = np.where(rng.random(LOOKS[-1]) < 0.25, 200e-6, 10e-6)
        told += bool(list(TimedCalls((205e-6,) * LOOKS[-1], tuple(again)).findings(on_host=True)))
    assert told > 85


def first_sight_of(call, *, workload=WORKLOAD):
    return first_sight.left_out(HostDevice(), Arm("candidate", call, False), workload, lambda number: 1 + number)


def test_part_of_the_work_that_is_remembered_is_told():
    """A third of a call's work goes by its latest values, or by all that it has seen."""
    latest, seen = [None], set()

    def keeps_latest(inputs, output):
        value = float(inputs[0][0])
        answer = work(work(inputs[0])) if latest[0] == value else work(work(work(inputs[0])))
        latest[0] = value
        return answer

    def keeps_all(inputs, output):
        value = float(inputs[0][0])
        answer = work(work(inputs[0])) if value in seen else work(work(work(inputs[0])))
        seen.add(value)
        return answer

    for call in (keeps_latest, keeps_all):
        assert "remembers a part of its work" in (first_sight_of(call) or "")
        found, _, _ = timed(call)
        assert not list(found.findings(on_host=True))  # which looks for half of it


def test_what_takes_as_long_again_remembers_nothing():
    def draw(seed):
        return (torch.randn(500, generator=torch.Generator().manual_seed(seed)),)

    def sort(inputs, output):  # whose branches a processor learns
        return torch.from_numpy(np.sort(inputs[0].numpy()))

    assert first_sight_of(lambda inputs, output: work(inputs[0])) is None
    assert [first_sight_of(sort, workload=Workload(draw, lambda inputs: None)) for _ in range(20)] == [None] * 20
