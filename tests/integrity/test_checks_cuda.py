"""The checks on a real GPU: what each finds, that honest kernels are not accused, and what it costs."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.checks.of_call import IntegrityChecks
from pytest_kgate.integrity.roofline import lower_bound
from pytest_kgate.integrity.roofline import peaks_of
from pytest_kgate.integrity.side_effects import streams
from pytest_kgate.integrity.side_effects.memories import memoization
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.validation.oracle import grid

pytestmark = pytest.mark.gpu

SHARE = 0.35
"""Of a gate's time that the checks may take: 0.13 to 0.15 s of 0.65 s, on an H200."""


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@pytest.fixture(scope="module")
def workload():
    def draw(seed):
        generator = torch.Generator("cuda").manual_seed(seed)
        return (torch.randn(1 << 20, generator=generator, device="cuda"),)

    return Workload(draw, lambda inputs: torch.full_like(inputs[0], float("nan")))


def nth_seed(number):
    return 1 + number


def arm(call, takes_output=False):
    return Arm("candidate", call, takes_output)


def on_side_stream(stream):
    def call(inputs, output):
        with torch.cuda.stream(stream):
            return output.copy_(inputs[0].relu())

    return arm(call, takes_output=True)


HONEST = {
    "writes to its output": arm(lambda inputs, output: output.copy_(inputs[0].relu()), takes_output=True),
    "returns an answer": arm(lambda inputs, output: inputs[0].relu()),
    "waits for the GPU": arm(lambda inputs, output: inputs[0] * float(inputs[0][0])),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_candidate_works_on_its_stream_and_remembers_nothing(device, workload, name):
    with device.running("testing"):
        assert streams.works_elsewhere(device, HONEST[name], workload, (1, 2)) is None
        calls, inputs, answer = memoization.time_calls(device, HONEST[name], workload, nth_seed, 10e-6)
        assert not list(calls.findings(on_host=False))
        expected = inputs[0] * inputs[0][0] if name == "waits for the GPU" else inputs[0].relu()
        assert torch.equal(answer, expected)


def test_no_stream_that_a_candidate_is_given_is_the_one_that_it_is_timed_on(device):
    """PyTorch has 32, which it gives in turn: a candidate on the timed one would not be found to work elsewhere."""
    assert device.stream.cuda_stream not in [torch.cuda.Stream().cuda_stream for _ in range(64)]


def test_work_on_another_stream_is_noticed(device, workload):
    with device.running("testing"):
        assert streams.works_elsewhere(device, on_side_stream(torch.cuda.Stream()), workload, (1, 2))


def test_work_on_another_stream_that_waits_and_is_waited_for_is_fine(device, workload):
    side = torch.cuda.Stream()

    def call(inputs, output):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            output.copy_(inputs[0].relu())
        torch.cuda.current_stream().wait_stream(side)
        return output

    with device.running("testing"):
        assert streams.works_elsewhere(device, arm(call, takes_output=True), workload, (1, 2)) is None


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("name", ["writes to its output", "returns an answer", "waits for the GPU"])
def test_end_on_the_default_stream_is_noticed_unless_it_is_waited_for(device, workload, name, waits):
    default = torch.cuda.default_stream()

    def call(inputs, output):
        here = torch.cuda.current_stream()
        default.wait_stream(here)
        with torch.cuda.stream(default):
            result = output.copy_(inputs[0].relu()) if output is not None else inputs[0].relu()
        if waits:
            here.wait_stream(default)
        return result

    takes_output = name == "writes to its output"
    with device.running("testing"):
        assert not streams.ends_on_default_stream(device, HONEST[name], workload, (1, 2))
        assert streams.ends_on_default_stream(device, arm(call, takes_output), workload, (1, 2)) is not waits


def test_work_out_of_order_is_told_from_work_that_is_wrong_by_chance(device, workload):
    def half_elsewhere(inputs, output):
        with torch.cuda.stream(torch.cuda.default_stream()):
            half = inputs[0].relu()
        return half + inputs[0]

    calls = 0

    def wrong_now_and_then(inputs, output):
        nonlocal calls
        calls += 1
        return inputs[0].relu() + inputs[0] * (calls % 3 > 0)

    def verify(inputs, answer):
        return None if torch.equal(answer, inputs[0].relu() + inputs[0]) else "off"

    with device.running("testing"):
        told = streams.out_of_order(device, arm(half_elsewhere), workload, nth_seed, verify)
        assert "another stream" in told
        assert streams.out_of_order(device, arm(wrong_now_and_then), workload, nth_seed, verify) is None
        assert streams.out_of_order(device, HONEST["returns an answer"], workload, nth_seed, verify) is None


def test_fingerprint_on_the_device_is_noticed(device, workload):
    """Values seen before are looked up without a word to the host: a spin stands for the work."""
    seen = torch.zeros(1, device="cuda")

    def call(inputs, output):
        known = bool((inputs[0][:1] == seen).item())
        if not known:
            device.instruments.spin(device.stream, 2_000_000)
            seen.copy_(inputs[0][:1])
        return output.copy_(inputs[0].relu())

    with device.running("testing"):
        calls, _, _ = memoization.time_calls(device, arm(call, takes_output=True), workload, nth_seed, 10e-6)
    assert any("the values of the call before" in told for told in calls.findings(on_host=False))


def test_gpu_work_behind_a_host_clock_is_noticed(device):
    def call():
        device.instruments.spin(device.stream, 2_000_000)

    assert streams.leaves_gpu_busy(call)
    assert streams.leaves_gpu_busy(lambda: None) is None


@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_lower_bound_is_known_and_below_what_a_copy_takes(device, cache):
    x = torch.randn(1 << 26, device="cuda")
    y = torch.empty_like(x)
    problem = Problem("copy", lambda g: (), lambda: None, lambda: None, bytes=2.0 * x.numel() * 4)
    found = lower_bound(problem, peaks_of(device), cache)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    y.copy_(x)
    start.record()
    y.copy_(x)
    end.record()
    torch.cuda.synchronize()
    assert 0 < found.seconds < start.elapsed_time(end) * 1e-3


def seconds_a_call(call, calls=20):
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("seqlen", grid.LENGTHS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("impl", ["wmma", "custom_v3"])
def test_honest_kernel_is_not_accused(device, impl, seqlen, dtype, causal):
    """The whole of the checks, without a race: its latency is that of a plain loop, which is never too short.

    Head dimensions and sizes take turns; the reference keeps all scores, so that long problems have one size.
    """
    from pytest_kgate.device.arm import bind

    turn = grid.LENGTHS.index(seqlen) + 2 * causal + (dtype == "bfloat16")
    size = grid.SIZES[turn % len(grid.SIZES)] if seqlen <= 1024 else (1, 8)
    problem = sdpa_problem(Shape(*size, seqlen, grid.HEAD_DIMS[turn % 4], causal), dtype, "math")
    kernel = load_kernel(impl)
    candidate = bind("candidate", kernel, problem.params)
    reference = bind("reference", problem.reference["math"], problem.params)
    checks = IntegrityChecks(candidate, device, problem, on=True, own=True, says=[impl])
    guarded_problem, guarded = checks.begin()
    correctness = check(device, guarded_problem, guarded, reference, None, 1)
    checks.phase_over()
    workload = workload_of(problem, device, correctness.like)
    with device.running("testing"):
        inputs = workload.draw(1)
        spent = seconds_a_call(lambda: candidate.call(inputs, None))

    verify = Verification(device, problem, correctness)
    checks.observe(workload, nth_seed, "graph", "hot", np.array([spent]), verify)
    checks.phase_over()
    assert checks.findings.all == []
    assert checks.to_dict()["checks"]["kernels"] == "passed", checks.to_dict()


def test_checks_cost_a_small_part_of_a_gate(pytester):
    """Of the later gates of a session of its own: the first also loads kernels of PyTorch's."""
    from pytest_kgate.report.record.document import load

    pytester.makepyfile(
        """
        import dataclasses
        import pytest
        from pytest_kgate import Shape

        @pytest.mark.speedup(0.9)
        @pytest.mark.parametrize("which", range(5))
        def test_gate(kbench, sdpa_oracle, which):
            problem = sdpa_oracle(Shape(4, 16, 2048, 64), backend="flash")
            flash = problem.reference["flash"]
            def slowly(*inputs, **params):
                flash(*inputs, **params)
                return flash(*inputs, **params)
            kbench(flash, dataclasses.replace(problem, reference=slowly))
        """
    )
    pytester.runpytest_subprocess("--kgate-json=records.json").assert_outcomes(passed=5)
    later = load(pytester.path / "records.json")[2:]
    shares = [one["integrity"]["seconds_spent"] / sum(one["seconds"].values()) for one in later]
    assert np.median(shares) < SHARE, shares


def test_a_copy_by_the_driver_is_honest_where_the_reference_is_one_too(pytester):
    pytester.makepyfile(
        """
        import pytest
        import torch
        from pytest_kgate import Problem

        pytestmark = [pytest.mark.speedup(1.2), pytest.mark.perf(budget=2)]

        def problem(reference):
            return Problem(
                name="copy",
                inputs=lambda g: (torch.randn(1 << 22, generator=g, device=g.device),),
                reference=reference,
                exact=lambda x: x.double(),
            )

        def test_clone(kbench):
            kbench(torch.clone, problem(torch.clone))

        def test_of_several(kbench):
            several = {"kernel": lambda x: x * 1.0, "copy": torch.clone}
            kbench(torch.clone, problem(several))

        def test_remembered(kbench):
            kbench(torch.clone, problem(lambda x: x * 1.0))
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--kgate-device=cuda:0")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*the candidate launched no kernel.*"])
