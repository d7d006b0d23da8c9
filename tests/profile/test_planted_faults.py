"""The kernels with planted faults compile where there is a CUDA compiler: a GPU is needed only to run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.errors import ToolchainMissing

FAULTS = sorted((Path(__file__).parent / "faults").glob("*.cu"))


@pytest.mark.parametrize("source", FAULTS, ids=lambda source: source.stem)
def test_planted_fault_compiles(source: Path, tmp_path: Path) -> None:
    try:
        compiler = toolchain.cuda_compiler()
    except ToolchainMissing as error:
        pytest.skip(str(error))
    command = [*compiler.command, "-arch=sm_90a", "-DKGATE_DEBUG", f"-I{csrc_directory()}", "-cubin", source]
    done = subprocess.run([*command, "-o", tmp_path / "kernel.cubin"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
