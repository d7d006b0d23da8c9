"""What README and docs/writing-tests.md show is what a reader gets."""

from __future__ import annotations

import shutil

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from pages import CUDA
from pages import README
from pages import WRITING_TESTS
from pages import example
from pages import text_of

from pytest_kgate.build.compiler.ninja import build
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.registry import find_source

OWN_KERNEL = example(WRITING_TESTS, "my_attention.cu")
TRITON = example(WRITING_TESTS, "triton.jit")
PRELUDE = "import pytest\nfrom pytest_kgate import Shape\n"


def test_the_readme_takes_five_minutes():
    assert len(text_of(README).splitlines()) <= 150


def test_own_kernel_takes_under_thirty_lines():
    assert len(CUDA.splitlines()) + len(OWN_KERNEL.splitlines()) < 30


def test_triton_candidate_takes_under_thirty_lines():
    assert len(TRITON.splitlines()) < 30


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc, to compile the page's kernel")
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_own_kernel_compiles(tmp_path, arch):
    (tmp_path / "my_attention.cu").write_text(CUDA)
    result = build(recipe(find_source(tmp_path / "my_attention.cu"), {}, arch=arch))
    assert result.resources[0].spill_bytes == 0


@pytest.mark.gpu
def test_own_kernel_is_right_and_told_that_it_is_slow(pytester):
    pytester.makefile(".cu", my_attention=CUDA)
    pytester.makepyfile(PRELUDE + OWN_KERNEL)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*demanded*latency ratio below 0.95*", "*off by*above the bound*"])


@pytest.mark.gpu
def test_triton_candidate_passes(pytester):
    pytest.importorskip("triton", reason="needs Triton, which the page's example is written in")
    pytester.makepyfile(TRITON)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
