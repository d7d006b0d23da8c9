"""Calls that can't be captured in CUDA graphs, or only now and then, on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_races import CYCLES
from gpu_races import raced
from gpu_races import spin

from pytest_kgate.errors import TimingError
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_same_kernel_behind_a_graph_is_not_faster(device, workload, timer):
    """The trap that eager timing falls into: a cheaper launch looks like a faster kernel.

    The candidate can't be captured again, so the reference is launched as a graph too.
    """
    import torch

    static = torch.randn(1 << 20, device="cuda")
    with device.running("capturing"):
        graph = torch.cuda.CUDAGraph()
        torch.sort(static)
        device.wait()
        graph.capture_begin(capture_error_mode="thread_local")
        torch.sort(static)
        graph.capture_end()

    def replayed(inputs, output):
        graph.replay()
        return inputs[0]

    def launched(inputs, output):
        torch.sort(static)
        return inputs[0]

    _, result = raced(device, workload, replayed, launched, timer=timer, bound=0.97)
    assert result.judgements[0].verdict is not Verdict.PASS
    assert result.ratio is not None
    assert 0.97 < result.ratio.estimate < 1.05


def test_work_that_a_capture_leaves_on_another_stream_takes_nothing_from_the_rows(device, workload):
    """It would take more from a reference that wants more of each SM than the candidate does."""
    import torch

    side = torch.cuda.Stream()
    hog, rest = torch.randn(8192, 8192, device="cuda"), torch.empty(8192, 8192, device="cuda")
    moved, to = torch.randn(1 << 24, device="cuda"), torch.empty(1 << 24, device="cuda")
    with torch.cuda.stream(side):
        torch.mm(hog, hog, out=rest)

    def copies(inputs, output):
        to.copy_(moved)
        return inputs[0]

    def leaves_work(inputs, output):
        if torch.cuda.is_current_stream_capturing():
            with torch.cuda.stream(side):
                torch.mm(hog, hog, out=rest)
        return copies(inputs, output)

    def latency(candidate):
        _, result = raced(device, workload, candidate, copies)
        return float(np.median(result.reference))

    assert latency(leaves_work) < 1.2 * latency(copies)


def test_what_cannot_be_captured_goes_to_the_queue_timer_with_the_reason(device, workload):
    import torch

    def draws_memory_outside_the_stream(inputs, output):
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("no capture, please")
        device.instruments.spin(device.stream, CYCLES)
        return inputs[0]

    stopwatch, _ = raced(device, workload, draws_memory_outside_the_stream, spin(device, CYCLES), timer="auto")
    assert stopwatch.timer == "queue"
    assert "no capture, please" in stopwatch.warnings[0]


def test_random_numbers_still_work_after_a_capture_that_broke_off(device, workload):
    import torch

    def synchronises_once(inputs, output):
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream().synchronize()
        device.instruments.spin(device.stream, CYCLES)
        return inputs[0]

    stopwatch, _ = raced(device, workload, synchronises_once, spin(device, CYCLES), timer="auto")
    assert stopwatch.timer == "queue"
    assert bool(torch.randn(8, device="cuda").isfinite().all())


def test_call_that_waits_for_the_gpu_once_captured_is_said_to_do_other_work_now_and_then(device, workload):
    """As an autotuner does that runs again for new arguments."""
    import torch

    calls = []

    def tunes_again(inputs, output):
        calls.append(None)
        if len(calls) % 200 == 0:
            torch.cuda.synchronize()
        device.instruments.spin(device.stream, CYCLES)
        return inputs[0]

    with pytest.raises(TimingError, match=r"A call of the candidate can't be captured .* though the calls before it"):
        raced(device, workload, tunes_again, spin(device, CYCLES))
    assert bool(torch.randn(8, device="cuda").isfinite().all())
    raced(device, workload, spin(device, CYCLES), spin(device, CYCLES), bound=0.5)
