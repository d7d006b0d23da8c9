"""Debug builds: what a kernel asserts is on in them, and leaves no trace in any other build."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler.recipe import recipe

ASSERTING = ("custom_v3", "wmma")
CALL = b"__assertfail"
"""The function that a failed device assert calls."""


def built(name: str, *, debug: bool) -> ninja.BuildResult:
    return ninja.build(recipe(registry.find_source(name), {"HEAD_DIM": 64}, arch="sm_90a", debug=debug))


@pytest.mark.parametrize("name", ASSERTING)
def test_asserts_are_in_debug_builds_and_in_no_other(name: str, nvcc: None, shared_cache: None) -> None:
    release, debug = built(name, debug=False), built(name, debug=True)
    assert CALL in debug.path.read_bytes()
    assert CALL not in release.path.read_bytes()
    assert release.path != debug.path
    assert "-lineinfo" in release.flags
    assert "-lineinfo" in debug.flags
    assert "-G" not in debug.flags


@pytest.mark.parametrize("name", ASSERTING)
def test_a_release_build_has_the_registers_of_a_source_without_asserts(
    name: str, nvcc: None, shared_cache: None, tmp_path: Path
) -> None:
    source = registry.find_source(name)
    bare = tmp_path / source.path.name
    lines = source.path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if "DEBUG_ASSERT" not in line and "earlier_sum = " not in line]
    assert len(kept) < len(lines)
    bare.write_text("".join(kept))
    registers = {one.kernel: one.registers for one in built(name, debug=False).resources}
    without = ninja.build(recipe(registry.find_source(bare), {"HEAD_DIM": 64}, arch="sm_90a"))
    assert {one.kernel: one.registers for one in without.resources} == registers


def test_a_debug_build_is_named_as_one() -> None:
    source = registry.find_source("host")
    assert recipe(source, {}, debug=True).title == "host(debug)"
    assert recipe(source, {}).title == "host"


def test_debug_assert_takes_any_condition_and_is_no_statement_of_its_own(nvcc: None, tmp_path: Path) -> None:
    from pytest_kgate.build.compiler import toolchain

    source = tmp_path / "probe.cu"
    source.write_text(
        '#include "cuda/debug_assert.cuh"\n'
        "__global__ void probe(int* out) {\n"
        "    if (threadIdx.x == 0) DEBUG_ASSERT(out != nullptr && *out >= 0);\n"
        "    else *out = 1;\n"
        "}\n"
    )
    include = f"-I{registry.csrc_directory()}"
    for flags, found in ([], False), (["-DKGATE_DEBUG"], True):
        command = [*toolchain.cuda_compiler().command, "-std=c++17", "-arch=sm_80", "-ptx", include, *flags]
        subprocess.run([*command, str(source), "-o", str(tmp_path / "probe.ptx")], check=True, capture_output=True)
        assert (CALL in (tmp_path / "probe.ptx").read_bytes()) is found
