"""What the README shows is what a reader gets."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from readme import CUDA
from readme import PYTHON
from readme import README
from readme import example

from pytest_kgate.build.compiler.ninja import build
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.registry import find_source
from pytest_kgate.evaluation.options.options import OPTIONS
from pytest_kgate.report.page.markdown import update_block
from pytest_kgate.report.record.verdicts import documented

ROOT = Path(__file__).parents[1]
OWN_KERNEL = example("my_attention.cu")
TRITON = example("triton.jit")
PRELUDE = "import pytest\nfrom pytest_kgate import Shape\n"


def test_own_kernel_takes_under_thirty_lines():
    assert len(CUDA.splitlines()) + len(OWN_KERNEL.splitlines()) < 30


def test_triton_candidate_takes_under_thirty_lines():
    assert len(TRITON.splitlines()) < 30


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc, to compile the README's kernel")
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
    pytest.importorskip("triton", reason="needs Triton, which the README's example is written in")
    pytester.makepyfile(TRITON)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_every_python_block_compiles():
    for text in PYTHON:
        compile(text, "README.md", "exec")


def test_every_option_named_exists():
    flags = {option.flag for option in OPTIONS}
    assert set(re.findall(r"--kgate-[a-z-]+", README)) <= flags


def test_table_of_verdicts_is_the_one_that_the_code_goes_by():
    assert update_block(README, "verdicts", documented()) == README


def test_files_linked_to_exist():
    links = re.findall(r"\[[^\]]+\]\(([^)#\s,]+)\)", README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
