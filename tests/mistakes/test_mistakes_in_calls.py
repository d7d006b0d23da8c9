"""Markers and calls that make no sense: what happened, what to do, and nothing measured is lost."""

from __future__ import annotations

import re

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401


@pytest.mark.parametrize(
    ("marker", "complaint", "usage"),
    [
        ("speedup(0)", "bound must be a positive finite number, not 0", "speedup(bound, *, quantile=0.5, conf"),
        ("speedup(-1)", "bound must be a positive finite number, not -1", "speedup(bound, *"),
        ("speedup('fast')", "bound must be a positive finite number, not 'fast'", "speedup(bound, *"),
        ("speedup(float('nan'))", "bound must be a positive finite number, not nan", "speedup(bound, *"),
        ("speedup()", "missing a required argument: 'bound'", "speedup(bound, *"),
        ("speedup(0.9, 0.5)", "too many positional arguments", "speedup(bound, *"),
        ("speedup(0.9, quantil=0.5)", "got an unexpected keyword argument 'quantil'", "speedup(bound, *"),
        ("speedup(0.9, quantile=50)", "quantile must be a number between 0 and 1, not 50", "speedup(bound, *"),
        ("allclose(0)", "atol and rtol cannot both be 0", "allclose(atol, rtol=0.0, *, factor=None)"),
        ("perf(budgett=3)", "got an unexpected keyword argument 'budgett'", "perf(*, against, timer, cache, budget,"),
        ("speedup(10**400)", "bound must be a positive finite number, not 1000", "speedup(bound, *"),
        ("speedup(10**5000)", "bound must be a positive finite number, not a value of type int", "speedup(bound, *"),
        ("speedup(True)", "bound must be a positive finite number, not True", "speedup(bound, *"),
        ("speedup(0.9, quantile=10**400)", "quantile must be a number between 0 and 1, not 1000", "speedup(bound, *"),
        ("regression(margin=10**400)", "margin must be a number between 0 and 1, such as 0.01", "regression(*, margin"),
        ("speed_of_light(10**400)", "bound must be a share of the roofline", "speed_of_light(bound, *"),
        ("allclose(10**400)", "atol must be a finite number, 0 or more, not 1000", "allclose(atol, rtol=0.0, *"),
        ("allclose(1, factor=10**400)", "factor must be a positive number, not 1000", "allclose(atol, rtol=0.0, *"),
        ("resources(registers=10**400)", "registers must be a number of registers, 0 or more, not 1000", "resources(*"),
        ("metrics(tensor=10**400)", "does not say whether more or less is demanded", "metrics(*tables"),
        ("perf(budget=10**400)", "budget (marker) cannot be 1000", "perf(*"),
        ("perf(processes=True)", "processes (marker) cannot be True", "perf(*"),
        ("perf(budget='soon')", "budget (marker) cannot be 'soon'. It takes a positive number of seconds", "perf(*"),
    ],
)
def test_marker_that_makes_no_sense_stops_the_collection_with_its_usage(play, marker, complaint, usage):
    result = play(f"""
    @pytest.mark.{marker}
    def test_mistake(kbench):
        kbench(good, RELU)
    """)
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("test_it.py::test_mistake: @pytest.mark.", complaint, f"Usage: @pytest.mark.{usage}")


CALLS = {
    "swapped": (
        "kbench(RELU, good)",
        "kbench was given the problem first.",
        "Write kbench(candidate, problem).",
    ),
    "shape for a problem": (
        "kbench(good, Shape(1, 2, 32, 16))",
        "kbench takes a Problem as its second argument, got Shape.",
        "Make one with sdpa_oracle(shape)",
    ),
    "tuple for a shape": (
        "sdpa_oracle((1, 2, 32, 16))",
        "Attention takes a Shape, got (1, 2, 32, 16).",
        "Write Shape(batch, heads, seqlen, head_dim, causal=False).",
    ),
    "name for a kernel": (
        "kbench('wmma', RELU)",
        "The candidate 'wmma' names no function.",
        'kernels("name")',
    ),
    "result for a callable": (
        "kbench(good(torch.ones(64, 64)), RELU)",
        "The candidate is not callable: got Tensor.",
        "Pass a function",
    ),
    "nothing for a callable": (
        "kbench(None, RELU)",
        "The candidate is not callable: got NoneType.",
        "Pass a function",
    ),
    "unknown dtype": (
        "sdpa_oracle(SMALL, dtype='fp16')",
        "Attention has no dtype 'fp16'.",
        "Write a name: 'float16', 'bfloat16', 'float32', 'float8_e4m3fn'.",
    ),
    "torch dtype": (
        "sdpa_oracle(SMALL, dtype=torch.float32)",
        "Attention has no dtype torch.float32.",
        "Write a name: 'float16', 'bfloat16', 'float32', 'float8_e4m3fn'.",
    ),
    "unknown backend": (
        "sdpa_oracle(SMALL, backend='fast')",
        "There is no SDPA backend 'fast'.",
        "Use fastest or one of flash",
    ),
    "unknown keyword": (
        "kbench(good, RELU, budgett=3)",
        "budgett (kbench) is not an option of one test. Did you mean 'budget'?",
        "These are:",
    ),
    "misspelt gate": (
        "kbench(good, RELU, speedpu=0.9)",
        "speedpu (kbench) is not an option of one test. Did you mean 'speedup'?",
        "Besides, kbench takes speedup, allclose, speed_of_light.",
    ),
    "backend too late": (
        "kbench(good, RELU, sdpa_backend='flash')",
        "kbench(sdpa_backend=...) comes too late: the problem has its references already.",
        'Write sdpa_oracle(shape, backend="flash"), or @pytest.mark.perf(sdpa_backend="flash").',
    ),
    "nothing at all": (
        "kbench()",
        "kbench was called without its candidate and its problem.",
        "Write kbench(candidate, problem)",
    ),
    "no problem": (
        "kbench(good)",
        "kbench was called without its problem.",
        "Write kbench(candidate, problem)",
    ),
    "no candidate, softly": (
        "kbench.soft(problem=RELU)",
        "kbench was called without its candidate.",
        "Write kbench(candidate, problem)",
    ),
    "three without a name": (
        "kbench(good, RELU, 0.9)",
        "kbench was given 3 arguments without a name, and takes two.",
        "kbench(candidate, problem, speedup=0.9)",
    ),
    "candidate twice": (
        "kbench(good, RELU, candidate=good)",
        "kbench was given two values for its candidate.",
        "Write kbench(candidate, problem)",
    ),
    "precision that is none": (
        "kbench(good, RELU, precision=10**400)",
        "kbench(precision=...) cannot be 1000",
        "It takes a positive number.",
    ),
    "name that is none": (
        "kbench(good, RELU, name=3)",
        "kbench(name=...) cannot be 3.",
        "It takes a string that is not empty, or None.",
    ),
    "check that is none": (
        "kbench(good, RELU, check='no')",
        "kbench(check=...) cannot be 'no'.",
        "It takes True or False.",
    ),
    "infinite tolerance": (
        "Problem(**{**vars(RELU), 'tolerance': {'output': float('inf')}})",
        "Problem(tolerance={'output': ...}) cannot be inf.",
        "Write atol, (atol, rtol) or (atol, rtol, factor)",
    ),
    "bad bound": (
        "kbench(good, RELU, speedup=0)",
        "kbench(speedup=...) cannot be 0.",
        "It takes a positive number.",
    ),
}


def test_fixture_in_the_place_of_a_kernel_is_told_how_one_is_made(play):
    result = play("""
    def test_mistake(kbench, kernels):
        kbench(kernels, RELU)
    """)
    result.failed_once()
    result.says("kbench was given the fixture `kernels`, not a kernel.", 'Write kbench(kernels("name"), problem)')


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_call_that_makes_no_sense_is_told_how_to_write_it(play, call):
    code, happened, todo = call
    result = play(f"""
    def test_mistake(kbench, sdpa_oracle):
        {code}
    """)
    result.failed_once()
    result.says(happened, todo)


def test_shape_with_an_extent_of_zero_is_named_at_the_users_own_line(play):
    result = play("""
    def test_mistake(kbench, sdpa_oracle):
        kbench(good, sdpa_oracle(Shape(1, 2, 0, 16)))
    """)
    result.failed_once()
    result.says("ValueError: Shape.seqlen must be a positive integer, got 0")
    assert re.search(r"test_it\.py:\d+: ValueError", result.text)


def test_problem_of_a_wrong_field_is_named_at_the_users_own_line(play):
    result = play("""
    def test_mistake(kbench):
        kbench(good, Problem(name="relu", inputs=3, reference=good, exact=good))
    """)
    result.failed_once()
    result.says("UsageError: Problem(inputs=...) cannot be 3.", "It takes a function.")
    assert re.search(r"test_it\.py:\d+: UsageError", result.text)
    assert "???" not in result.text


def test_gate_without_a_race_fails_and_says_so(play):
    result = play("""
    @pytest.mark.speedup(0.95)
    def test_mistake():
        good(torch.ones(3))
    """)
    result.failed_once()
    result.says("never called kbench, so nothing was judged.", "Call kbench(candidate, problem) in the test")


def test_call_in_a_teardown_is_told_that_it_comes_too_late(play):
    result = play("""
    @pytest.fixture
    def afterwards(kbench):
        yield
        kbench(good, RELU)

    @pytest.mark.allclose(1e-5)
    def test_mistake(afterwards):
        pass
    """)
    result.says("The test is marked allclose, but never called kbench", "A call in a teardown comes too late.")


def test_two_calls_in_one_test_are_allowed_and_a_late_failure_loses_neither(play):
    result = play("""
    @pytest.mark.allclose(1e-6)
    def test_mistake(kbench):
        kbench(good, RELU, name="first")
        kbench(lambda x: torch.relu(x) + 1, RELU, name="second")
    """)
    result.failed_once("first", "second")
    result.says("WRONG: second")


def test_call_within_a_candidate_of_another_call_is_told_instead_of_waiting_for_itself(play):
    result = play(
        """
    def test_mistake(kbench):
        def nested(x):
            kbench(good, RELU)
            return torch.relu(x)

        kbench(nested, RELU)
    """,
        device="host",
    )
    result.failed_once("nested")
    result.says("kbench was called within a call of kbench", "Call one after the other.")


def test_call_in_a_fork_of_the_test_is_told_instead_of_waiting_for_threads_that_are_not_there(play):
    result = play(
        """
    import multiprocessing

    @pytest.mark.speedup(0.95)
    def test_mistake(kbench):
        def there():
            with pytest.raises(pytest.fail.Exception) as told:
                kbench(good, RELU)
            print(told.value, flush=True)

        fork = multiprocessing.get_context("fork").Process(target=there)
        fork.start()
        fork.join(30)
        fork.kill()
    """,
        device="host",
    )
    result.says("kbench was called in another process than its test.", "Call it in the test itself;")
    result.says("never called kbench, so nothing was judged")


def test_call_while_a_clock_is_frozen_is_told_instead_of_waiting_for_it(play):
    result = play(
        """
    import time

    @pytest.mark.speedup(0.95)
    def test_mistake(kbench, monkeypatch):
        monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
        kbench(lambda x: torch.relu(x), RELU)
    """,
    )
    result.failed_once("<lambda>")
    result.says("Nothing can be timed: time.perf_counter was replaced before the candidate was called.", "freezegun")
