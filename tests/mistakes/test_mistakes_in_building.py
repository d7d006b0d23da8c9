"""What newcomers get wrong about building kernels: what happened, what to do, and nothing measured is lost."""

from __future__ import annotations

import os
import re

import pytest
import torch  # before any session: pytester forgets what its sessions import, and torch can't be imported twice
from user_session import write_kernel

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.build import vendor_libraries

BUILD = """
def test_mistake(kbench, sdpa_oracle, kernels):
    kbench(kernels(KERNEL), sdpa_oracle(SMALL, dtype="float32"))
"""


def test_no_cpp_compiler_is_said_with_the_package_to_install(play, folder, no_compiler):
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("No C++ compiler was found: neither CXX nor PATH leads to", "apt install g++")


def test_no_cuda_compiler_is_said_with_where_it_was_looked_for(play, folder, no_compiler):
    write_kernel(folder, "return 0;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), device="gpu")
    result.failed_once()
    result.says("No CUDA compiler was found", "CUDA_HOME", "pip install nvidia-cuda-nvcc")


def test_cxx_that_names_no_compiler_is_said(play, folder, monkeypatch):
    monkeypatch.setenv("CXX", "g++-99")
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("CXX=g++-99 names a C++ compiler that is not there", "Correct CXX")


def test_cuda_kernel_without_gpu_is_skipped_with_the_reason(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "-rs")
    assert result.outcomes == {"passed": 2, "skipped": 1}
    result.lost_nothing()
    result.says("wmma needs a CUDA device, and there is none here.")


def test_cuda_kernel_without_gpu_fails_where_a_gpu_is_required(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "--kgate-require-gpu")
    result.failed_once()
    result.says("wmma needs a CUDA device", "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_asking_for_a_gpu_that_is_not_there_names_the_way_out(play):
    result = play("", "--kgate-device=cuda", device="none")
    assert result.outcomes == {"errors": 2}
    result.says("No CUDA device is available to this PyTorch.", "--kgate-device host")


def test_a_gpu_whose_memory_is_taken_is_no_internal_error(play, monkeypatch):
    def refuses(index):
        raise RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the documentation.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", refuses)
    result = play("", "--kgate-device=cuda", device="none")
    assert result.outcomes == {"errors": 2}
    result.says("cuda:0 can't be opened: CUDA error: out of memory.", "free memory there")


@pytest.mark.usefixtures("nvcc")
@pytest.mark.parametrize("arch", ["sm_30", "sm_999"])
def test_architecture_that_nvcc_does_not_know_is_said_with_the_option(play, folder, arch):
    write_kernel(folder, "return 0;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), f"--kgate-arch={arch}", device="gpu")
    result.failed_once()
    result.says("mine does not compile: nvcc fatal", f"'compute_{arch[3:]}'", "Give --kgate-arch one of those that")


@pytest.mark.usefixtures("nvcc")
def test_gpu_older_than_the_kernel_needs_is_said(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "--kgate-arch=sm_75", device="gpu")
    result.failed_once()
    result.says("wmma does not compile: These kernels use cp.async: compile for sm_80 or newer.", "--kgate-arch")


def test_architecture_that_is_none_is_refused_at_once(play):
    result = play("", "--kgate-arch=hopper")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("--kgate-arch cannot be 'hopper'. It takes a GPU architecture as nvcc names it, such as sm_90a.")


def test_source_that_does_not_compile_shows_the_whole_output_once_with_the_command(play, folder):
    write_kernel(folder, "return nonsense;")
    body = BUILD.replace("KERNEL", '"mine.cpp"')
    result = play(body + body.replace("test_mistake", "test_again"))
    assert result.outcomes == {"passed": 2, "failed": 2}
    result.lost_nothing()
    result.says("mine does not compile: ", "'nonsense' was not declared", "Correct the source.")
    assert re.search(r"^\$ \S*(c|g|clang)\+\+ .*mine\.cpp -o mine\.so", result.lines, re.MULTILINE)
    assert len(re.findall(r"^\$ ", result.lines, re.MULTILINE)) == 1
    assert result.text.count("In function 'int kgate_sdpa(") == 1
    result.says("The first failure of this build shows the whole output.")


@pytest.mark.usefixtures("nvcc")
def test_cuda_source_that_does_not_compile_shows_nvccs_words(play, folder):
    write_kernel(folder, "return nonsense;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), device="gpu")
    result.failed_once()
    result.says('identifier "nonsense" is undefined', "nvcc -ccbin", "Correct the source.")


def test_source_without_the_entry_point_is_told_what_to_define(play, folder):
    (folder.path / "mine.cpp").write_text("int forgotten;\n")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("it has no function kgate_sdpa", 'include "sdpa.h"')


def test_knob_value_that_the_source_rejects_is_said_in_the_sources_words(play):
    result = play(BUILD.replace("KERNEL", '"host", BLOCK_M=7'))
    result.failed_once()
    result.says(
        "BLOCK_M must be a multiple of 16 from 16 to 512.", "Choose other knobs; the source says which it takes."
    )


def test_unknown_knob_is_told_the_close_match(play):
    result = play(BUILD.replace("KERNEL", '"host", block_m=64'))
    result.failed_once()
    result.says("host has no knob 'block_m'. Did you mean 'BLOCK_M'?", "BLOCK_N=64 (keys per tile)")


def test_knob_that_is_no_integer_is_said(play):
    result = play(BUILD.replace("KERNEL", '"host", BLOCK_M="64"'))
    result.failed_once()
    result.says("The knob BLOCK_M of host must be an integer, got '64'.", "It is 64 by default")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wmna", "There is no implementation 'wmna'. Did you mean 'wmma'? Choose one of: host, custom_v3, wmma,"),
        ("mine.cu", "mine.cu can't be read: No such file or directory. Check the path"),
        ("mine.py", "mine.py is not a kernel source: its name ends in neither .cu (CUDA) nor .cpp (host)."),
    ],
    ids=["misspelt", "missing file", "other suffix"],
)
def test_kernel_that_is_not_there_is_said_with_those_that_are(play, name, message):
    result = play(BUILD.replace("KERNEL", repr(name)))
    result.failed_once()
    result.says(message)


@pytest.mark.parametrize("asked", [False, True], ids=["in passing", "by name"])
def test_kernel_whose_library_is_missing_is_skipped_unless_it_was_asked_for(play, monkeypatch, asked):
    nowhere = vendor_libraries.Library("cuBLAS", ("libkgate_nowhere.so.1",), (), "pip install nowhere")
    monkeypatch.setitem(vendor_libraries.KNOWN, "cublas", nowhere)
    result = play(BUILD.replace("KERNEL", '"cublas"'), "-rs", *["--kgate-impl=cublas"] * asked, device="gpu")
    assert result.outcomes == ({"passed": 2, "failed": 1} if asked else {"passed": 2, "skipped": 1})
    result.says("cublas needs cuBLAS: libkgate_nowhere.so.1: cannot open shared object file", "pip install nowhere.")


def test_cache_that_cannot_be_used_is_named_with_its_variable(play, folder, monkeypatch):
    (folder.path / "file").touch()
    monkeypatch.setenv("KGATE_CACHE_DIR", str(folder.path / "file" / "cache"))
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("The build cache in", "can't be used: Not a directory.", "Set KGATE_CACHE_DIR to a directory")


@pytest.mark.parametrize("mode", [0o500, 0o000], ids=["unwritable", "unreadable"])
def test_cache_without_permission_is_named_with_its_variable(play, folder, monkeypatch, tmp_path_factory, mode):
    closed = tmp_path_factory.mktemp("closed")  # outside of what pytest collects
    closed.chmod(mode)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setenv("KGATE_CACHE_DIR", str(closed))
    write_kernel(folder, "return 0;")
    try:
        result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    finally:
        closed.chmod(0o700)
    result.failed_once()
    result.says("The build cache in", "can't be used: Permission denied.", "Set KGATE_CACHE_DIR to a directory")
