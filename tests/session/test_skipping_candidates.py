"""A candidate that raises what pytest skips a test for, or expects to fail, answers nothing: its test fails."""

from __future__ import annotations

import textwrap

import pytest

JUDGE = """
import pytest
import torch
from pytest_kgate import Problem, evaluate

def drawn(generator):
    if SKIPS:
        pytest.skip("the problem needs more memory")
    return (torch.randn(64, generator=generator, device=generator.device),)

RELU = Problem("relu 64", drawn, torch.relu, lambda x: torch.relu(x.double()))

@pytest.mark.allclose(1e-5)
def test_relu(kbench):
    kbench("new.py:candidate", RELU)

def test_program():
    record = evaluate("new.py:candidate", RELU, None, device="host")
    assert record["verdict"] == "ERROR"
"""

SKIPS = {
    "at import": "pytest.skip('no', allow_module_level=True)",
    "expects to fail at import": "pytest.xfail('no')",
    "by an attribute of the module": """
        def __getattr__(name):
            pytest.skip("no")
        """,
    "by its own attributes": """
        class Candidate:
            def __getattr__(self, name):
                pytest.skip("no")

            def __call__(self, x):
                return x.clamp(min=0)

        candidate = Candidate()
        """,
    "by its answer": """
        class Answer(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                pytest.skip("no")

        def candidate(x):
            return x.clamp(min=0).as_subclass(Answer)
        """,
}


@pytest.mark.parametrize("how", list(SKIPS))
def test_candidate_that_skips_the_test_is_an_error(pytester, how):
    pytester.makepyfile(new="import pytest\nimport torch\n" + textwrap.dedent(SKIPS[how]))
    pytester.makepyfile(JUDGE.replace("SKIPS", "False"))
    result = pytester.runpytest_inprocess("-k", "relu")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["ERROR: *", "*: no*", "1 ERROR"])


def test_skip_at_import_ends_nobody_who_evaluates(pytester):
    pytester.makepyfile(new="import pytest\n" + SKIPS["at import"])
    pytester.makepyfile(JUDGE.replace("SKIPS", "False"))
    pytester.runpytest_inprocess("-k", "program").assert_outcomes(passed=1)


def test_problem_may_skip_its_test(pytester):
    pytester.makepyfile(new="import torch\ncandidate = torch.relu")
    pytester.makepyfile(JUDGE.replace("SKIPS", "True"))
    result = pytester.runpytest_inprocess("-k", "relu", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the problem needs more memory*"])
