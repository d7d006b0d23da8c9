"""`--kgate-candidate`: a file in the place of what tests hand to kbench; `--kgate-until`: which step is the last."""

from __future__ import annotations

import pytest

from pytest_kgate.build.compiler import cache

MADE = "import torch\n\ndef wrong(x):\n    return x * 1.0\n\ndef right(x):\n    return torch.relu(x)\n"

BODY = """
@pytest.mark.speedup(0.95)
def test_mine(kbench, kernels):
    record = kbench(kernels("no_such_kernel"), RELU, name="mine")
    assert record["candidate"]["name"] == "right"

def test_uses_a_kernel_otherwise(kbench, kernels):
    kernel = kernels("host")
    x = torch.randn(1, 2, 32, 16)
    assert kernel(x, x, x).shape == x.shape and kernel.device_kind == "host"
    kbench(kernel, RELU, speedup=0.95)
"""


@pytest.fixture(autouse=True)
def compiled_before(monkeypatch):
    monkeypatch.setenv("KGATE_CACHE_DIR", str(cache.root()))


def run(suite, *arguments):
    test = suite(BODY)
    test.makepyfile(made=MADE)
    return test.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_candidate_takes_the_place_of_every_tests_own(suite):
    run(suite, "--kgate-candidate=made.py:right").assert_outcomes(passed=2)


def test_wrong_candidate_fails_the_tests_and_is_named(suite):
    result = run(suite, "--kgate-candidate=made.py:wrong")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*WRONG: wrong against relu on*"])


def test_candidate_that_is_not_there_is_misuse(suite):
    result = run(suite, "--kgate-candidate=nowhere.py:right")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*There is no file nowhere.py*"])


def test_nothing_is_raced_behind_the_last_step(suite):
    result = run(suite, "--kgate-candidate=made.py:right", "--kgate-until=check")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*ratio, 95*")
    run(suite, "--kgate-candidate=made.py:wrong", "--kgate-until=check").assert_outcomes(failed=2)
    result = run(suite, "--kgate-candidate=made.py:wrong", "--kgate-until=build", "-k", "otherwise")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 MEASURED*"])
