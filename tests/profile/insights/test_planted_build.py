"""The planted kernels compile, and have the registers and spills that they are planted for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from planted_kernels import PLANTED

from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.profile.under_tool.program import find_program

ARCHITECTURES = ("sm_80", "sm_90")


def test_all_compile_and_use_the_registers_that_they_are_planted_for(tmp_path: Path) -> None:
    nvcc = find_program("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    # In one run of the compiler, which takes longest over CUDA's own headers.
    sources = ['#include "planted.cuh"']
    for planted in PLANTED:
        sources += [f"#define kgate_sdpa kgate_sdpa_{planted.name}", f"namespace of_{planted.folder}_{planted.name} {{"]
        sources += [f'#include "{planted.path}"', "}", "#undef kgate_sdpa"]
    whole = tmp_path / "all.cu"
    whole.write_text("\n".join(sources))
    target = f"-gencode=arch=compute_80,code=[{','.join(ARCHITECTURES)}]"
    options = ["-std=c++17", "-O3", "-Xptxas", "-v", "--threads", "2", target, "-c", str(whole), "-o", "/dev/null"]
    folders = [f"-I{folder}" for folder in (csrc_directory(), PLANTED[0].path.parent)]
    done = subprocess.run([str(nvcc), *options, *folders], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = re.findall(
        r"Compiling entry function '\w*\dplanted_(\w+?)E\w*' for 'sm_\w+'.*?(\d+) bytes spill stores"
        r".*?Used (\d+) registers",
        done.stderr,
        re.DOTALL,
    )
    spills = {name for name, spilled, _ in told if int(spilled) > 0}
    most = {name for name, _, registers in told if int(registers) > 240}
    assert len(told) == len(PLANTED) * len(ARCHITECTURES)
    assert spills == {
        "spilling",
        "crowded_sums",
    }  # an array that is indexed at run time is in local memory, and no spill
    assert most == {"registers_255"}
