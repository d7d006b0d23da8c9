"""How many blocks an SM holds: by the numbers that NVIDIA's own calculator gives."""

from __future__ import annotations

import ctypes
import itertools
import subprocess

import pytest

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.profile.resources.occupancy import MULTIPROCESSORS
from pytest_kgate.profile.resources.occupancy import multiprocessor
from pytest_kgate.profile.resources.occupancy import resident_blocks

NVIDIAS = """
#include <cuda_occupancy.h>
extern "C" int blocks(int major, int minor, int threads, int most_blocks, int shared_sm, int reserved, int block,
                      int registers, int shared) {
    cudaOccDeviceProp sm = {};
    sm.computeMajor = major, sm.computeMinor = minor, sm.maxThreadsPerBlock = 1024;
    sm.maxThreadsPerMultiprocessor = threads, sm.regsPerBlock = sm.regsPerMultiprocessor = 65536, sm.warpSize = 32;
    sm.sharedMemPerBlock = 49152, sm.sharedMemPerMultiprocessor = shared_sm, sm.numSms = 100;
    sm.sharedMemPerBlockOptin = shared_sm - 1024, sm.reservedSharedMemPerBlock = reserved;
    cudaOccFuncAttributes kernel = {};
    kernel.maxThreadsPerBlock = 1024, kernel.numRegs = registers, kernel.maxDynamicSharedSizeBytes = shared;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    cudaOccDeviceState state;
    cudaOccResult result;
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &sm, &kernel, &state, block, shared) != CUDA_OCC_SUCCESS)
        return -1;
    return result.activeBlocksPerMultiprocessor;
}
"""


@pytest.fixture(scope="module")
def nvidias(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """NVIDIA's header, compiled."""
    try:
        compiler = toolchain.cuda_compiler().command
    except ToolchainMissing as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("occupancy")
    (folder / "blocks.cpp").write_text(NVIDIAS)
    command = [*compiler, "-shared", "-Xcompiler", "-fPIC,-w", "blocks.cpp", "-o", "blocks.so"]
    built = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if "cuda_occupancy.h" in built.stderr:
        pytest.skip("this CUDA has no cuda_occupancy.h")
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(folder / "blocks.so"))


@pytest.mark.parametrize("arch", MULTIPROCESSORS)
def test_blocks_are_counted_as_nvidias_calculator_does(arch: str, nvidias: ctypes.CDLL) -> None:
    sm = MULTIPROCESSORS[arch]
    number = arch.removeprefix("sm_")
    capability = int(number[:-1]), int(number[-1])
    sizes = itertools.product((32, 96, 128, 160, 256, 384, 1024), (16, 40, 72, 129, 168, 255), (0, 1000, 33 * 1024))
    for threads, registers, shared in (*sizes, (128, 32, sm.shared_bytes - 1024)):
        wanted = nvidias.blocks(*capability, sm.threads, sm.blocks, sm.shared_bytes, 1024, threads, registers, shared)
        assert min(wanted, sm.blocks) == resident_blocks(sm, threads, registers, shared), (threads, registers, shared)


def test_two_blocks_need_half_of_an_sm_each() -> None:
    sm = MULTIPROCESSORS["sm_89"]
    assert resident_blocks(sm, 256, 128, 0) == 2
    assert resident_blocks(sm, 256, 129, 0) == 1
    assert resident_blocks(sm, 128, 32, 49 * 1024) == 2
    assert resident_blocks(sm, 128, 32, 49 * 1024 + 1) == 1
    assert resident_blocks(sm, 1024, 32, 0) == 1
    assert resident_blocks(sm, 32, 16, 0) == 24


def test_instructions_of_one_architecture_alone_are_not_another_sm() -> None:
    assert multiprocessor("sm_90a") == multiprocessor("sm_90")
    assert multiprocessor("sm_70") is None
