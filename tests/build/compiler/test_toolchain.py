from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pytest_kgate.build.compiler import arch
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError


def fake_compiler(path: Path, answer: str) -> Path:
    """Answers to --version, and keeps a count of how often it was asked in a file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho x >> {path}.asked\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def asked(path: Path) -> int:
    journal = Path(f"{path}.asked")
    return len(journal.read_text().split()) if journal.exists() else 0


GNU = "g++ (Debian) 12.2.0 Copyright (C) 2022 Free Software Foundation, Inc."
NVCC = "nvcc: NVIDIA (R) Cuda compiler driver. Cuda compilation tools, release 13.0, V13.0.88"


@pytest.mark.parametrize("variable", ["PATH", "CUDA_HOME", "CUDA_PATH", "USUAL_CUDA", "PyPI", "PyPI 12"])
def test_nvcc_is_found_in_each_usual_place(
    variable: str, bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_compiler(bare_machine / "g++", GNU)
    places = {
        "PATH": bare_machine / "nvcc",
        "PyPI": tmp_path / "site/nvidia/cu13/bin/nvcc",
        "PyPI 12": tmp_path / "site/nvidia/cuda_nvcc/bin/nvcc",
    }
    nvcc = fake_compiler(places.get(variable, tmp_path / "toolkit/bin/nvcc"), NVCC)
    if variable == "USUAL_CUDA":
        monkeypatch.setattr(toolchain, "USUAL_CUDA", tmp_path / "toolkit")
    elif variable.startswith("PyPI"):
        monkeypatch.syspath_prepend(tmp_path / "site")
    elif variable != "PATH":
        monkeypatch.setenv(variable, str(tmp_path / "toolkit"))
    found = toolchain.cuda_compiler()
    assert found.command[0] == str(nvcc)
    assert found.command[-2:] == ("-ccbin", str(bare_machine / "g++"))
    assert found.name == "nvcc 13.0.88"
    assert "Free Software" in found.version, "nvcc's results depend on the host compiler, so the key must too"


def test_a_host_compiler_chosen_by_nvccs_own_variable_is_left_alone(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_compiler(bare_machine / "g++", GNU)
    fake_compiler(bare_machine / "nvcc", NVCC)
    monkeypatch.setenv("NVCC_PREPEND_FLAGS", "-ccbin /opt/gcc/bin/g++")
    assert "-ccbin" not in toolchain.cuda_compiler().command


def test_no_nvcc_names_the_places_and_the_packages(bare_machine: Path) -> None:
    with pytest.raises(ToolchainMissing, match="nvcc is neither on PATH, nor below CUDA_HOME") as caught:
        toolchain.cuda_compiler()
    assert "pip install nvidia-cuda-nvcc" in caught.value.todo


def test_nvcc_without_a_host_compiler_asks_for_that(bare_machine: Path) -> None:
    fake_compiler(bare_machine / "nvcc", NVCC)
    with pytest.raises(ToolchainMissing, match=r"No C\+\+ compiler was found") as caught:
        toolchain.cuda_compiler()
    assert "apt install g++" in caught.value.todo


def test_a_wrong_cxx_is_not_silently_replaced(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(bare_machine / "g++", GNU)
    monkeypatch.setenv("CXX", "g++-99")
    with pytest.raises(ToolchainMissing, match=r"CXX=g\+\+-99 names"):
        toolchain.host_compiler()


def test_cxx_may_hold_a_launcher_and_flags(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ccache", "g++", "nvcc"):
        fake_compiler(bare_machine / name, GNU)
    monkeypatch.setenv("CXX", "ccache g++ -fdiagnostics-color=never")
    assert toolchain.host_compiler().command[1:] == ("g++", "-fdiagnostics-color=never")
    assert toolchain.cuda_compiler().command[-2:] == ("-ccbin", "g++")


def test_a_compiler_that_does_not_start_is_named(bare_machine: Path) -> None:
    broken = bare_machine / "g++"
    broken.write_text("#!/bin/sh\necho 'libisl.so: cannot open' >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(ToolchainMissing, match=r"libisl\.so: cannot open") as caught:
        toolchain.host_compiler()
    assert str(broken) in caught.value.what


def test_the_version_is_asked_once_for_all_processes(bare_machine: Path) -> None:
    gxx = fake_compiler(bare_machine / "g++", GNU)
    for _ in range(3):
        assert toolchain.host_compiler().name == "g++ 12.2.0"
        toolchain._versions.clear()  # what a new process starts with
    assert asked(gxx) == 1


def test_a_compiler_that_changed_is_asked_again(bare_machine: Path) -> None:
    gxx = fake_compiler(bare_machine / "g++", GNU)
    assert toolchain.host_compiler().name == "g++ 12.2.0"
    fake_compiler(gxx, GNU.replace("12.2.0", "13.1.0"))
    assert toolchain.host_compiler().name == "g++ 13.1.0"


def test_the_compiler_behind_a_wrapper_script_is_watched_too(bare_machine: Path, tmp_path: Path) -> None:
    real = fake_compiler(tmp_path / "toolkit/g++", GNU)
    wrapper = bare_machine / "g++"
    wrapper.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    assert toolchain.host_compiler().name == "g++ 12.2.0"
    fake_compiler(real, GNU.replace("12.2.0", "13.1.0"))
    os.utime(real, ns=(1, 1))
    assert toolchain.host_compiler().name == "g++ 13.1.0"


def test_a_cache_that_holds_nonsense_about_compilers_is_ignored(bare_machine: Path, tmp_path: Path) -> None:
    fake_compiler(bare_machine / "g++", GNU)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "compilers.json").write_text("[1, 2")
    assert toolchain.host_compiler().name == "g++ 12.2.0"


def test_architectures_are_written_as_nvcc_does() -> None:
    assert arch.parse("SM_90a ") == "sm_90a"
    assert arch.gencode("sm_90a") == "-gencode=arch=compute_90a,code=sm_90a"
    for wrong in ("9.0", "hopper", "compute_80", "sm_9"):
        with pytest.raises(UsageError, match=re.escape(repr(wrong))):
            arch.parse(wrong)


@pytest.mark.parametrize(
    ("capability", "name"), [((8, 0), "sm_80"), ((8, 9), "sm_89"), ((9, 0), "sm_90a"), ((10, 0), "sm_100a")]
)
def test_a_devices_capability_gives_its_full_instruction_set(capability: tuple[int, int], name: str) -> None:
    assert arch.of_capability(*capability) == name


def test_without_a_gpu_the_oldest_supported_architecture_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert arch.of_device() == "sm_80"
