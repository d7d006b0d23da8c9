"""Timing, faults and hangs on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpu_races import CYCLES
from gpu_races import raced
from gpu_races import spin

from pytest_kgate.device.cuda import driver
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("ratio", [0.90, 1.0, 1.10])
@pytest.mark.parametrize(("timer", "cycles", "tolerance"), [("graph", CYCLES, 0.01), ("queue", 10 * CYCLES, 0.01)])
def test_known_ratio_of_spinning_kernels_is_measured(device, workload, timer, cycles, tolerance, ratio):
    """What a launch of the host costs the device, up to 3 us, is a part of both readings of the queue timer."""
    candidate, reference = spin(device, int(ratio * cycles)), spin(device, cycles)
    _, result = raced(device, workload, candidate, reference, timer=timer, bound=0.5)
    assert result.ratio is not None
    assert result.ratio.estimate == pytest.approx(ratio, abs=tolerance)


@pytest.mark.parametrize("cache", ["hot", "cold"])
@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_slow_kernels_are_judged_exactly_by_few_calls(device, workload, timer, cache):
    """Of 4 ms: single calls between events, from which an empty interval is taken off."""
    calls = []

    def candidate(inputs, output):
        calls.append(None)
        device.instruments.spin(device.stream, 380 * CYCLES)
        return inputs[0]

    reference = spin(device, 400 * CYCLES)
    _, result = raced(device, workload, candidate, reference, timer=timer, cache=cache, bound=0.97)
    assert result.judgements[0].verdict is Verdict.PASS
    assert (result.rounds, result.candidate.shape[1]) == (12, 2)
    assert result.ratio.estimate == pytest.approx(0.95, abs=0.001)
    timed = result.candidate.sum() + result.reference.sum()
    assert result.spent_seconds < 3 * timed + 0.1
    assert len(calls) < 12 * (2 + 1) + 3 * 3 + 20


@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_clear_win_passes_and_clear_loss_fails(device, workload, timer):
    reference = spin(device, CYCLES)
    for ratio, verdict in ((0.88, Verdict.PASS), (1.02, Verdict.FAIL)):
        _, result = raced(device, workload, spin(device, int(ratio * CYCLES)), reference, timer=timer)
        assert result.judgements[0].verdict is verdict


@pytest.mark.parametrize("cycles", [8_000, 20_000, 100_000], ids=["4 us", "10 us", "50 us"])
def test_first_samples_of_a_round_are_as_fast_as_the_others(device, workload, cycles):
    _, result = raced(device, workload, spin(device, cycles), spin(device, cycles), bound=1.0)
    for samples in (result.candidate, result.reference):
        slower = samples[:, :2] / np.median(samples[:, 2:], axis=1, keepdims=True) - 1
        assert np.median(slower) < 0.01


def test_last_samples_of_a_round_read_as_the_others_though_a_call_has_a_memset(device, workload):
    spent = torch.zeros(16, device="cuda")

    def call(inputs, output):
        driver.call("cuMemsetD8Async", spent.data_ptr(), 0, 16, torch.cuda.current_stream().cuda_stream)
        return spin(device, 8_000)(inputs, output)

    _, result = raced(device, workload, call, call, bound=1.0)
    for samples in (result.candidate, result.reference):
        off = np.median(samples[:, -3:] / np.median(samples[:, :6], axis=1, keepdims=True)) - 1
        assert abs(off) < 0.02


def test_candidate_that_synchronises_is_named_not_timed(device, workload):

    def synchronises(inputs, output):
        device.instruments.spin(device.stream, CYCLES)
        torch.cuda.current_stream().synchronize()
        return inputs[0]

    with pytest.raises(TimingError, match="waits for the GPU inside its call"):
        raced(device, workload, synchronises, spin(device, CYCLES), timer="auto")


def test_a_call_of_more_launches_than_a_gpu_takes_in_advance_is_timed(device, workload):
    """A recurrent network's graph has thousands, and no host could enqueue it behind a held stream."""

    def many(inputs, output):
        for _ in range(4000):
            device.instruments.spin(device.stream, CYCLES // 10)
        return inputs[0]

    stopwatch, result = raced(device, workload, many, many, timer="auto", bound=1.5)
    assert stopwatch.timer == "graph"
    assert any("more launches than the GPU takes in advance" in warning for warning in stopwatch.warnings)
    assert result.judgements[0].verdict is Verdict.PASS


@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_cold_cache_is_slower_for_a_kernel_that_reads(device, timer):

    reads = Workload(lambda seed: (torch.randn(4 << 20, device="cuda"),), lambda inputs: inputs[0].new_empty(()))

    def total(inputs, output):
        return inputs[0].sum()

    medians = {}
    for cache in ("hot", "cold"):
        stopwatch, result = raced(device, reads, total, total, timer=timer, cache=cache, bound=0.5)
        assert (stopwatch.timer, stopwatch.cache) == (timer, cache)
        medians[cache] = np.median(result.reference)
    assert medians["cold"] > 1.1 * medians["hot"]


@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_sm_clock_is_read_around_every_round(device, workload, timer):
    spins = 10 * CYCLES
    _, result = raced(device, workload, spin(device, spins), spin(device, spins), timer=timer, bound=0.5)
    clocks = result.evidence["sm_clock_hz"]
    assert len(clocks) == result.rounds
    assert all(0.1e9 < clock < 4e9 for clock in clocks)
    # A spin of known cycles tells the clock as well; a launch adds up to two microseconds.
    assert spins / np.median(result.reference) == pytest.approx(np.median(clocks), rel=0.03)


def test_probes_find_honest_kernels_at_work(device, workload):

    def draw(seed):
        generator = torch.Generator("cuda").manual_seed(seed)
        return (torch.randn(1 << 18, device="cuda", generator=generator),)

    def doubled(inputs, output):
        return inputs[0] * 2

    seeded = Workload(draw, lambda inputs: torch.full_like(inputs[0], float("nan")))
    for timer in ("graph", "queue", "eager"):
        _, result = raced(device, seeded, doubled, doubled, timer=timer, bound=0.5)
        assert len(result.probes.kept) > 2
        for seed, answer in (pair for probe in result.probes.kept for pair in probe.answers):
            assert torch.equal(answer, 2 * seeded.draw(seed)[0])
        assert not result.new_values.dear


def test_out_of_memory_is_said_with_what_is_free(device):

    with (
        pytest.raises(CandidateError, match=r"Out of GPU memory while trying") as caught,
        device.running("trying"),
    ):
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert "GiB are free" in caught.value.todo


BROKEN_KERNEL = """
#include "sdpa.h"
#include <cuda_runtime.h>
__global__ void broken(float* out) {{ {body} }}
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {{
    broken<<<1, 32, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<float*>(args->o));
    return 0;
}}
KGATE_EXPORT const char* kgate_message(void) {{ return ""; }}
"""

BROKEN_SESSION = """
import pytest
import torch.nn.functional as F
from pytest_kgate import Shape

pytestmark = pytest.mark.perf

def test_before(kbench, sdpa_oracle):
    kbench(F.scaled_dot_product_attention, sdpa_oracle(Shape(1, 1, 64, 64)), budget=0.1)

def test_broken(kbench, sdpa_oracle, kernels):
    kbench(kernels("broken.cu"), sdpa_oracle(Shape(1, 1, 64, 64)))

def test_after(kbench, sdpa_oracle):
    kbench(F.scaled_dot_product_attention, sdpa_oracle(Shape(1, 1, 64, 64)), budget=0.1)
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("out[(1ull << 40) + threadIdx.x] = 1.0f;", "*illegal memory access*"),
        ("while (true) { __nanosleep(1000); }", "*hung*"),
        ('asm volatile("trap;");', "*faulted*"),
    ],
    ids=["illegal-address", "endless-loop", "trap"],
)
def test_session_survives_a_kernel_that_takes_the_context_down(pytester, body, message):
    pytester.makefile(".cu", broken=BROKEN_KERNEL.format(body=body))
    pytester.makepyfile(BROKEN_SESSION)
    result = pytester.runpytest_subprocess(
        "--kgate-device=cuda",
        "--kgate-timeout=5",
        "--kgate-json=records.json",
        "-p",
        "no:cacheprovider",
        timeout=60,
    )
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines([message, "*Not run: the CUDA context of this process was lost*"])
    from pytest_kgate.report.record.document import load

    assert [record["verdict"] for record in load(pytester.path / "records.json")] == [
        "MEASURED",
        "ERROR",
        "ERROR",
    ]


def test_error_of_pytorch_after_a_fault_is_laid_to_the_fault(pytester):
    pytester.makefile(".cu", broken=BROKEN_KERNEL.format(body='asm volatile("trap;");'))
    pytester.makepyfile(
        """
        import torch
        from pytest_kgate import Shape

        def test_broken(kbench, sdpa_oracle, kernels):
            kbench(kernels("broken.cu"), sdpa_oracle(Shape(1, 1, 64, 64)))

        def test_after(kbench):
            torch.zeros(1, device="cuda").add(1).cpu()
        """
    )
    result = pytester.runpytest_subprocess("--kgate-device=cuda", "-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_after*",
            "*Not run: the CUDA context of this process was lost*",
            "Run this test again in a new process*",
        ]
    )
