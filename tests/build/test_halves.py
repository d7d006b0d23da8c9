"""A source that is compiled in halves is one library, as if it had been compiled whole."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from launch_plan import plan

from pytest_kgate import Shape
from pytest_kgate.build import compile as compiling
from pytest_kgate.build import recipe
from pytest_kgate.build import registry
from pytest_kgate.build.compile import BuildResult
from pytest_kgate.errors import BuildError

SOURCE = """
#ifndef BLOCK_M  // knob: rows
#define BLOCK_M 64
#endif
#ifndef HEAD_DIM  // knob: the only head dimension to compile, 0 for all
#define HEAD_DIM 0
#endif
#include "cuda_common.cuh"  // in halves
static_assert(BLOCK_M % 16 == 0, "BLOCK_M must be a multiple of 16.");
template <typename T, int D>
__global__ void nothing(const __grid_constant__ kgate::SdpaArgs args) {}
template <typename T, int D>
struct Nothing {
    static int launch(const kgate::SdpaArgs& args, void* stream) {
        if (args.causal) return kgate::fail(kgate::kUnsupported, "No mask at head_dim %d. Use another.", D);
        return kgate::launch<nothing<T, D>>(args, D, 32, 0, stream);
    }
};
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<Nothing, HEAD_DIM>(args, stream);
}
"""


def recipe_of(path: Path, **knobs: int) -> recipe.Recipe:
    source = registry.find_source(path)
    return recipe.recipe(source, registry.check_knobs(source, knobs), arch="sm_80")


@pytest.fixture
def mine(tmp_path: Path, nvcc: None) -> Path:
    path = tmp_path / "mine.cu"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def built(mine: Path, empty_cache: Path) -> BuildResult:
    return compiling.build(recipe_of(mine))


def test_the_halves_are_compiled_at_once_and_each_kernel_once(mine: Path, built: BuildResult) -> None:
    first, second, link = recipe_of(mine).steps
    assert first.inputs == second.inputs == ()
    assert set(link.inputs) == {first.output, second.output}
    kernels = [resources.kernel for resources in built.resources]
    assert len(kernels) == len(set(kernels)) == 8


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
def test_one_library_serves_the_head_dimensions_of_both_halves(head_dim: int, built: BuildResult) -> None:
    (launch,) = plan(built.path, Shape(1, 2, 100, head_dim), "float16", 132)
    assert launch.blocks == head_dim
    assert launch.kernel.endswith(f"<__half, {head_dim}>")


@pytest.mark.parametrize("head_dim", [64, 128])
def test_what_either_half_refuses_is_told_by_the_library(head_dim: int, built: BuildResult) -> None:
    with pytest.raises(AssertionError, match=rf"No mask at head_dim {head_dim}\. Use another\."):
        plan(built.path, Shape(1, 2, 100, head_dim, causal=True), "float16", 132)


def test_nothing_of_the_halves_shows_outside(built: BuildResult) -> None:
    listed = subprocess.run(["nm", "-D", "--defined-only", built.path], check=True, capture_output=True, text=True)
    ours = {line.split()[-1] for line in listed.stdout.splitlines() if "kgate" in line}
    assert ours == {"kgate_sdpa", "kgate_message", "kgate_plan"}
    assert sorted(path.suffix for path in built.path.parent.iterdir() if path.suffix == ".o") == []


def test_a_refused_knob_is_told_once(mine: Path, empty_cache: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compiling.build(recipe_of(mine, BLOCK_M=24))
    assert str(caught.value).splitlines()[0].endswith(" does not compile: BLOCK_M must be a multiple of 16.")
    assert str(caught.value).count("static assertion failed") == 1


def test_a_build_for_one_head_dimension_is_one_step(mine: Path) -> None:
    assert len(recipe_of(mine, HEAD_DIM=64).steps) == 1


def test_the_command_reproduces_the_library(built: BuildResult, tmp_path: Path) -> None:
    subprocess.run(built.command, shell=True, cwd=tmp_path, check=True, capture_output=True)
    (launch,) = plan(tmp_path / "mine.so", Shape(1, 2, 100, 128), "float16", 132)
    assert launch.blocks == 128
    assert ctypes.CDLL(str(tmp_path / "mine.so")).kgate_sdpa(None, None) < 0
