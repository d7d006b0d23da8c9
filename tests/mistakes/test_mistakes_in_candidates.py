"""Candidates and problems that are none: what happened, what to do, and nothing measured is lost."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401


def test_candidate_that_raises_is_shown_with_its_own_frames_only(play):
    result = play("""
    def helper(x):
        raise ValueError("tile is empty")

    def broken(x):
        return helper(x)

    def test_mistake(kbench):
        kbench(broken, RELU)
    """)
    result.failed_once("broken")
    result.says(
        "ERROR: broken",
        "The candidate raised ValueError: tile is empty.",
        "Traceback, without the plugin's own frames:",
    )
    result.says("in broken return helper(x)", 'in helper raise ValueError("tile is empty")')


def test_candidate_that_raises_only_while_timed_is_an_error_with_a_record(play):
    result = play(
        """
        calls = []

        def broken(x):
            calls.append(1)
            if len(calls) > 20:
                raise ValueError("scratch is used up")
            return torch.relu(x)

        def test_mistake(kbench):
            kbench(broken, RELU)
        """,
        device="host",
    )
    result.failed_once("broken")
    result.says("ERROR: broken", "raised ValueError: scratch is used up.", "in broken raise ValueError(")
    assert result.records[1]["correctness"]["verdict"] == "PASS"


@pytest.mark.parametrize("allowed", [0, 20], ids=["in its check", "while timed"])
def test_candidate_that_skips_or_expects_to_fail_has_not_answered(play, allowed):
    result = play(
        f"""
        calls = []

        def broken(x):
            calls.append(1)
            if len(calls) > {allowed}:
                pytest.{"xfail" if allowed else "skip"}("not today")
            return torch.relu(x)

        def test_mistake(kbench):
            kbench(broken, RELU)
        """,
        device="host",
    )
    result.failed_once("broken")
    result.says("ERROR: broken", f"raised {'XFailed' if allowed else 'Skipped'}: not today.")


@pytest.mark.parametrize(
    ("part", "function", "message"),
    [
        ("reference", "lambda x: (x, 2)", "The problem's reference returned int, not a tensor, as its output 1."),
        ("exact", "lambda x: None", "The problem's exact returned no tensor."),
        ("exact", "lambda x: x.double().sum(0)", "The problem's exact returned shape (64,), its reference (64, 64)."),
        ("reference", "{}", "Problem(reference=...) cannot be {}."),
        ("reference", "'torch.relu'", "Problem(reference=...) cannot be 'torch.relu'."),
    ],
)
def test_problem_that_is_none_is_told_what_its_parts_return(play, part, function, message):
    result = play(f"""
    import dataclasses

    def test_mistake(kbench):
        kbench(good, dataclasses.replace(RELU, {part}={function}))
    """)
    assert result.outcomes["failed"] == 1
    result.says(message)


@pytest.mark.parametrize("part", ["reference", "exact", "inputs"])
def test_problem_whose_own_function_raises_names_that_function(play, part):
    result = play(f"""
    import dataclasses

    def broken(*tensors):
        raise ValueError("not this shape")

    def test_mistake(kbench):
        kbench(good, dataclasses.replace(RELU, {part}=broken))
    """)
    result.failed_once("good")
    whose = {"reference": "The reference", "exact": "The problem's exact", "inputs": "The problem's inputs"}[part]
    result.says("ERROR: good", f"{whose} raised ValueError: not this shape.", "in broken raise ValueError(")


@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_model_s_class_in_place_of_a_model_is_told_so(play, role):
    result = play(
        f"""
        import dataclasses

        class Model(torch.nn.Module):
            def forward(self, x):
                return torch.relu(x)

        def test_mistake(kbench):
            parts = dict(candidate=Model(), reference=Model()) | dict({role}=Model)
            kbench(parts["candidate"], dataclasses.replace(RELU, reference=parts["reference"]))
        """,
        device="host",
    )
    result.says(f"The {role} is the class Model itself", "Pass an instance of it")


@pytest.mark.parametrize("made_by", ["lambda x: torch.relu", "type('Tiles', (), {'__init__': made, '__call__': made})"])
def test_what_makes_a_kernel_in_place_of_the_kernel_is_told_so(play, made_by):
    result = play(
        f"""
        def made(self, x):
            return None

        def test_mistake(kbench):
            kbench({made_by}, RELU)
        """,
        device="host",
    )
    result.says("not a tensor", "can be called itself")


def test_candidate_that_asks_for_too_much_memory_is_told_to_shrink(play):
    result = play(
        """
        def greedy(x):
            torch.empty(2**50, dtype=torch.uint8)

        def test_mistake(kbench):
            kbench(greedy, RELU)
        """,
        device="host",
    )
    result.failed_once("greedy")
    result.says("The candidate ran out of host memory: 1,048,576.0 GiB were asked for at once.", "Use a smaller shape")
    result.says("in greedy torch.empty(2**50")


def test_non_contiguous_input_of_a_kernel_is_named(play):
    result = play("""
    import dataclasses

    def test_mistake(kbench, sdpa_oracle, kernels):
        problem = sdpa_oracle(SMALL, dtype="float32")
        turned = lambda g: tuple(t.transpose(2, 3).contiguous().transpose(2, 3) for t in problem.inputs(g))
        kbench(kernels("host"), dataclasses.replace(problem, inputs=turned, hard_inputs=None))
    """)
    result.failed_once("host")
    result.says("host: the last dimension of q is not contiguous (stride (1024, 512, 1, 32)).", "Pass q.contiguous().")


def test_dtype_that_a_kernel_does_not_take_is_named(play):
    result = play("""
    import dataclasses

    def test_mistake(kbench, sdpa_oracle, kernels):
        problem = sdpa_oracle(SMALL, dtype="float32")
        doubled = lambda g: tuple(t.double() for t in problem.inputs(g))
        kbench(kernels("host"), dataclasses.replace(problem, inputs=doubled, hard_inputs=None))
    """)
    result.failed_once("host")
    result.says("host: q has the dtype torch.float64.", "Kernels take float32, float16, bfloat16,")


def test_candidate_that_ignores_the_mask_is_told_which_parameter_it_lacks(play):
    result = play("""
    def forgetful(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    @pytest.mark.allclose(1e-3)
    def test_mistake(kbench, sdpa_oracle):
        kbench(forgetful, sdpa_oracle(Shape(1, 2, 32, 16, causal=True), dtype="float32"))
    """)
    result.failed_once("forgetful")
    result.says(
        "WRONG: forgetful", "The candidate has no parameter `is_causal`, so it was called without is_causal=True"
    )


ODD = {
    "MagicMock": "unittest.mock.MagicMock(side_effect=torch.relu)",
    "Everything": "Everything()",
    "Unnamed": "Unnamed()",
}


@pytest.mark.parametrize("name", ODD)
def test_object_that_answers_to_every_name_or_to_none_is_judged_as_a_callable(play, name):
    result = play(
        f"""
    import unittest.mock

    class Everything:
        def __getattr__(self, name):
            return self

        def __call__(self, x):
            return torch.relu(x)

    class Unnamed:
        __name__ = property(lambda self: 1 / 0)

        def __call__(self, x):
            return torch.relu(x)

    @pytest.mark.allclose(1e-3)
    def test_odd(kbench):
        record = kbench({ODD[name]}, RELU)
        assert record["candidate"]["source_hash"] is None
    """,
        device="host",
    )
    assert result.outcomes == {"passed": 3}
    assert result.names == ["before", name, "after"]


def test_candidate_s_exception_without_a_text_is_told_by_its_class(play):
    result = play("""
    class Wordless(Exception):
        def __str__(self):
            raise ValueError("no text")

    def broken(x):
        raise Wordless

    def test_mistake(kbench):
        kbench(broken, RELU)
    """)
    result.failed_once("broken")
    result.says("The candidate raised Wordless: (its text can't be had).", "in broken raise Wordless")


def test_candidate_that_leaves_another_working_directory_gets_a_warning_and_later_tests_the_old_one(play, tmp_path):
    result = play(
        f"""
    import os

    before = os.getcwd()

    def moves(x):
        os.chdir({str(tmp_path)!r})
        return torch.relu(x)

    @pytest.mark.allclose(1e-3)
    def test_moves(kbench):
        record = kbench(moves, RELU)
        assert os.getcwd() == before
        assert [one for one in record["warnings"] if "os.getcwd" in one and "it was put back" in one]
    """,
        device="host",
    )
    assert result.outcomes == {"passed": 3}


@pytest.mark.parametrize("allowed", [0, 20], ids=["in its check", "while timed"])
@pytest.mark.parametrize("error", ["ProblemRaised", "ProblemError", "UsageError"])
def test_candidate_that_raises_what_blames_the_problem_is_at_fault_itself(play, error, allowed):
    result = play(
        f"""
        from pytest_kgate import errors

        calls = []

        def blames(x):
            calls.append(1)
            if len(calls) > {allowed}:
                raise errors.{error}("The reference raised.", "It is none of the candidate's.")
            return torch.relu(x)

        @pytest.mark.speedup(0.95)
        def test_mistake(kbench):
            kbench(blames, RELU)
        """,
        device="host",
    )
    result.failed_once("blames")
    result.says("ERROR: blames", f"raised {error}: The reference raised.")
    assert result.status == pytest.ExitCode.TESTS_FAILED
