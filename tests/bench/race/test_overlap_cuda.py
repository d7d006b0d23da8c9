"""Calls that run at the same time as their neighbours are told from calls that only begin early, on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.race.probes import overlaps
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.device.arm import bind
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.validation.cheats.catalogue import FOLDER

pytestmark = pytest.mark.gpu

SMALL = Shape(1, 8, 512, 64)
READY = [name for name, one in implementations().items() if (one.status, one.device_kind) == ("ready", "cuda")]


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@pytest.fixture(scope="module")
def waits_first(tmp_path_factory):
    source = tmp_path_factory.mktemp("honest") / "waits_first.cu"
    source.write_text(f'#define KGATE_WAITS_FIRST 1\n#include "{FOLDER}/tiled_attention.cuh"\n')
    return load_kernel(source)


def watched(device, candidate, shape, timer="graph", cache="hot", dtype="float16"):
    """The candidate's latency and what its calls hide, of eight rounds against PyTorch that are all probed."""
    problem = sdpa_problem(shape, dtype, backend="efficient")
    arms = tuple(bind("arm", one, problem.params) for one in (candidate, problem.reference["efficient"]))
    workload = workload_of(problem, device, reference_output(device, problem, arms[1]))
    order, book = np.repeat([0, 1], 4), SeedBook(42)
    stopwatch = device.stopwatch(arms, workload, timer=timer, cache=cache)
    try:
        rounds = [
            stopwatch.round(
                book.round(number, probed=True), book.generator(Stream.ROUND_ORDER, number).permutation(order)
            )
            for number in range(8)
        ]
    finally:
        stopwatch.close()
    latency = float(np.median([one.seconds[0] for one in rounds]))
    found = [one.probe.overlap_seconds for one in rounds]
    hidden = np.array([one for one in found if one is not None])
    assert len(hidden) == len(rounds) or latency > 0.4e-3  # a slow call is a row by itself, and overlaps with none
    shown = ", ".join(f"{one * 1e6:.2f}" for one in np.quantile(hidden, [0, 0.25, 0.5, 1])) if len(hidden) else "none"
    name = getattr(candidate, "name", None) or candidate.__name__
    print(f"OVERLAP {name} {shape} {stopwatch.timer} {cache}: {latency * 1e6:.2f} us, hidden {shown} us")
    return latency, hidden


@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_calls_that_begin_early_and_wait_for_nothing_are_found(device, timer):
    latency, hidden = watched(device, load_kernel(FOLDER / "overlaps_calls.cu"), SMALL, timer)
    assert "the candidate's calls run at the same time" in str(overlaps(hidden, latency))


@pytest.mark.parametrize("timer", ["graph", "queue"])
@pytest.mark.parametrize("length", [64, 512, 2048])
def test_call_that_begins_early_and_waits_first_is_not_accused(device, waits_first, timer, length):
    latency, hidden = watched(device, waits_first, Shape(1, 8, length, 64), timer)
    assert overlaps(hidden, latency) is None


@pytest.mark.parametrize("cache", ["hot", "cold"])
@pytest.mark.parametrize("timer", ["graph", "queue"])
@pytest.mark.parametrize("backend", ["flash", "cudnn", "efficient", "math"])
def test_calls_of_pytorch_are_not_accused(device, backend, timer, cache):
    for shape in (Shape(1, 8, 17, 64), SMALL, Shape(4, 16, 1024, 128, causal=True)):
        latency, hidden = watched(device, sdpa_problem(shape).reference[backend], shape, timer, cache)
        assert overlaps(hidden, latency) is None


@pytest.mark.parametrize("impl", READY)
def test_calls_of_shipped_kernels_are_not_accused(device, impl):
    try:
        kernel = load_kernel(impl)
    except LibraryMissing as missing:
        pytest.skip(str(missing))
    for shape in (Shape(1, 8, 17, 64), SMALL, Shape(8, 16, 1000, 128), Shape(1, 16, 4096, 64, causal=True)):
        latency, hidden = watched(device, kernel, shape, dtype="float8_e4m3fn" if impl == "fp8" else "float16")
        assert overlaps(hidden, latency) is None


def test_candidate_that_is_a_graph_itself_is_not_accused(device):
    shape = SMALL
    q, k, v = sdpa_problem(shape).inputs(torch.Generator("cuda").manual_seed(1))
    flash = sdpa_problem(shape).reference["flash"]
    with device.running("capturing"):
        flash(q, k, v, is_causal=False)
        device.wait()
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        answer = flash(q, k, v, is_causal=False)
        graph.capture_end()

    def replayed(query, key, value, is_causal):
        graph.replay()
        return answer

    latency, hidden = watched(device, replayed, shape, "auto")
    assert overlaps(hidden, latency) is None


def test_streams_that_fork_and_join_within_a_call_are_not_accused(device):
    flash = sdpa_problem(SMALL).reference["flash"]
    side = torch.cuda.Stream()

    def halves(query, key, value, is_causal):
        main = torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            second = flash(query[:, 4:], key[:, 4:], value[:, 4:], is_causal=is_causal)
        first = flash(query[:, :4], key[:, :4], value[:, :4], is_causal=is_causal)
        main.wait_stream(side)
        second.record_stream(main)
        return torch.cat([first, second], 1)

    latency, hidden = watched(device, halves, SMALL)
    assert overlaps(hidden, latency) is None
