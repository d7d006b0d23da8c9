"""A session where PyTorch is missing or broken, and one that only collects: neither opens a device."""

from __future__ import annotations

import sys

import pytest

_KGATE = (sys.executable, "-m", "pytest_kgate.cli")

BROKEN = {
    "missing": "raise ModuleNotFoundError(\"No module named 'torch'\")",
    "library": 'raise OSError("libcudart.so.13: cannot open shared object file")',
    "version": 'raise RuntimeError("module was compiled against another ABI version\\nsecond line")',
}

TESTS = """
import pytest
from pytest_kgate import Problem, Shape

RELU = Problem(name="relu", inputs=lambda g: (), reference=abs, exact=abs)

def test_other():
    pass

@pytest.mark.speedup(0.9)
def test_races(kbench):
    kbench(abs, RELU)

def test_races_attention(kbench, sdpa_oracle):
    kbench(abs, sdpa_oracle(Shape(1, 1, 16, 16)))

def test_describes_attention(sdpa_oracle):
    sdpa_oracle(Shape(1, 1, 16, 16))
"""


@pytest.mark.parametrize("how", BROKEN)
def test_tests_that_need_a_broken_torch_say_so_and_others_run(pytester, how):
    pytester.makepyfile(torch=BROKEN[how], test_it=TESTS)
    result = pytester.runpytest_subprocess("-p", "no:xdist")
    counts = result.parseoutcomes()
    assert (counts["passed"], counts["errors"], counts["failed"]) == (1, 2, 1)
    printed = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in printed
    assert "Traceback" not in printed
    reason = BROKEN[how].partition('"')[2].partition('"')[0].partition("\\n")[0]
    # Once in the session's line, once in each of the three tests, and once in each line of the short summary.
    assert printed.count(f": {reason}") >= 4
    assert "second line" not in printed


def test_collecting_neither_opens_a_device_nor_imports_torch(pytester):
    pytester.makepyfile(torch=BROKEN["library"], test_it=TESTS)
    for option in ("--collect-only", "--setup-plan"):
        result = pytester.runpytest_subprocess("-p", "no:xdist", option)
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(["*test_races*"])
        result.stdout.no_fnmatch_line("kgate:*")


def test_verbs_that_need_a_broken_torch_say_so(pytester):
    pytester.makepyfile(torch=BROKEN["library"])
    for verb in (["oracle", "--device=host"], ["calibrate"], ["calibrate", "--device=host"], ["integrity"]):
        result = pytester.run(*_KGATE, *verb)
        assert result.ret == 2
        assert result.errlines[0].startswith("kgate: PyTorch can't be imported: OSError: libcudart.so.13: ")
        assert len(result.errlines) == 2
