"""What a round enqueues before its samples: a graph's first replay is slower, and must not be one of them."""

from __future__ import annotations

import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stand_in_gpu import Event
from stand_in_gpu import stand_in_gpu

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.timers.graph import GraphStopwatch
from pytest_kgate.device.cuda.timers.graph import _taking_turns
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import SHORT
from pytest_kgate.device.rows import TimedInterval


def warmed(kind, seconds, first=True):
    """How often each graph is replayed before the samples, where both arms take so long."""
    stopwatch = object.__new__(kind)  # a real one needs a GPU
    stopwatch.arms = (Arm("candidate", print, False), Arm("reference", print, False))
    stopwatch.estimates = [seconds, 1.1 * seconds]
    stopwatch.lengths = tuple(stopwatch._lengths(one) for one in stopwatch.estimates)
    replays = Counter()

    def graph(*name):
        replays[name] = 0
        return lambda: replays.update([name])

    rows = {}
    for arm in (0, 1):
        rows[arm, SHORT] = graph(arm, "short")
        rows[arm, LONG] = _taking_turns([graph(arm, "long", twin) for twin in range(stopwatch.twins)])
    stopwatch._warm_up(rows, np.random.default_rng(1), first=first)
    return stopwatch, replays


@pytest.mark.parametrize("seconds", [1e-6, 2e-6, 4e-6, 10e-6, 30e-6, 54e-6])
def test_no_sample_of_a_quick_kernel_is_the_first_replay_of_a_graph(seconds):
    _, replays = warmed(GraphStopwatch, seconds)
    assert min(replays.values()) >= 1


@pytest.mark.parametrize("seconds", [2e-6, 10e-6, 54e-6, 91e-6, 1e-3])
def test_warming_up_stays_a_small_part_of_a_round(seconds):
    stopwatch, replays = warmed(GraphStopwatch, seconds)
    short, long = stopwatch.lengths[0]
    spent = sum(count * (short if name[1] == "short" else long) for name, count in replays.items())
    assert spent < 0.3 * 10 * 2 * (short + long)


@pytest.mark.parametrize("kind", [GraphStopwatch, QueueStopwatch])
def test_a_sample_of_a_slow_kernel_is_one_call(kind):
    assert warmed(kind, 20e-3)[0].lengths == ((0, 1), (0, 1))
    assert warmed(kind, 100e-6)[0].lengths == ((1, 3), (1, 3))


def test_slow_kernels_and_rows_taken_again_are_only_woken_up():
    assert sum(warmed(GraphStopwatch, 20e-3)[1].values()) == 1
    assert sum(warmed(GraphStopwatch, 200e-6)[1].values()) == 2
    assert sum(warmed(GraphStopwatch, 54e-6, first=False)[1].values()) == 2
    assert warmed(QueueStopwatch, 10e-6)[1][0, "short"] == 0


def test_of_a_slow_kernel_an_empty_interval_is_taken_off():
    launched = []
    stopwatch = object.__new__(QueueStopwatch)
    stopwatch.arms = tuple(
        Arm(name, lambda inputs, output, name=name: launched.append(name), False) for name in ("candidate", "reference")
    )
    instruments = SimpleNamespace(null=lambda stream: launched.append("empty"))
    stopwatch.device, stopwatch._captures = SimpleNamespace(instruments=instruments, stream=None), None
    lengths = ((0, 1), (0, 1))
    order = np.array([0, 1, 1, 0])
    keys = [(int(arm), length) for arm in order for length in (LONG, SHORT)]
    with stopwatch.rows([((), [None, None])], np.random.default_rng(1), lengths) as rows:
        for key in keys:
            rows[key]()
    assert launched == ["candidate", "empty", "reference", "empty", "reference", "empty", "candidate", "empty"]
    elapsed = np.array([4e-6 if length == SHORT else (20e-3, 25e-3)[arm] + 4e-6 for arm, length in keys])
    seconds, overhead = stopwatch._slopes(order, keys, elapsed, lengths)
    assert seconds == pytest.approx(np.array([[20e-3, 20e-3], [25e-3, 25e-3]]))
    assert overhead == pytest.approx(np.array([4e-6, 4e-6]))


def test_the_rows_of_a_round_are_not_the_last_that_the_device_has_to_run(monkeypatch):
    gpu = stand_in_gpu(monkeypatch)
    order = []
    for name in ("hold", "release"):
        monkeypatch.setattr(gpu.instruments, name, lambda stream=None, name=name: order.append(name))
    stopwatch = object.__new__(GraphStopwatch)
    stopwatch.device, stopwatch.cache, stopwatch._chunk, stopwatch._holds = gpu, "hot", None, True
    stopwatch.lengths, stopwatch.arms, stopwatch.estimates = ((0, 1),) * 2, (None, None), [1e-3, 1e-3]
    stopwatch._events = []
    stopwatch._behind = SimpleNamespace(replay=lambda: order.append("behind"))
    for name in ("read_clock", "evict"):
        monkeypatch.setattr(stopwatch, name, lambda *_: None, raising=False)
    rows = {(arm, length): lambda: order.append("row") for arm in (0, 1) for length in (SHORT, LONG)}
    intervals = [TimedInterval(key, row) for key, row in rows.items()]
    stopwatch._timed(intervals, rows, np.random.default_rng(1))
    assert order == ["hold", *["row"] * 5, "behind", "release"]


def test_a_kernel_shorter_than_its_launch_is_not_launched_for_as_long_as_it_takes_to_fill_the_device(monkeypatch):
    """Launches of 1 ms for kernels of 1 us, of which 20 ms of the device's time would be 20 s of the host's."""
    gpu = stand_in_gpu(monkeypatch)
    monkeypatch.setattr(Event, "elapsed_time", lambda start, end: 5e-3)
    calls = []

    def launch(inputs, output):
        calls.append(time.sleep(1e-3))

    arms = [Arm(name, launch, False) for name in ("candidate", "reference")]
    workload = Workload(lambda seed: (torch.zeros(8),), lambda inputs: None)
    QueueStopwatch(gpu, arms, workload, "hot", reference_by_graph=False)
    assert len(calls) < 100
