from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kgate.build import library
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing

KERNEL = """
#include "sdpa.h"
{before}
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {{
    float* out = static_cast<float*>(args->o);
    (void)stream, (void)out;
    {body}
}}
KGATE_EXPORT const char* kgate_message(void) {{ return "It refuses. Use another."; }}
"""

WriteKernel = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_cache() -> None:
    """The user's own cache, so that a second run of the suite compiles no shipped kernel again; the binding loaded."""
    library.binding()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_cache: None) -> Path:
    """A cache of this test's own."""
    path = tmp_path / "cache"
    monkeypatch.setenv("KGATE_CACHE_DIR", str(path))
    monkeypatch.setattr(ninja, "_failures", {})
    monkeypatch.setattr(ninja, "_shown", set())
    return path


@pytest.fixture
def write_kernel(tmp_path: Path) -> WriteKernel:
    """Writes a small kernel source: `body` is kgate_sdpa's, with `args` and (float*) `out`."""

    def write(body: str = "return 0;", before: str = "", name: str = "mine.cpp") -> Path:
        path = tmp_path / name
        path.write_text(KERNEL.format(before=before, body=body))
        return path

    return write


@pytest.fixture
def counting_compiler(tmp_path: Path) -> tuple[Path, Path]:
    """A g++ that writes a line for each compilation (not for `--version`), and the file it writes to."""
    journal = tmp_path / "compilations"
    real = shutil.which("g++") or shutil.which("c++")
    script = tmp_path / "counting-c++"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo "$@" >> {journal}\nexec {real} "$@"\n')
    script.chmod(0o755)
    return script, journal


@pytest.fixture(scope="session")
def nvcc() -> None:
    """Skips where no CUDA compiler is found."""
    try:
        toolchain.cuda_compiler()
    except ToolchainMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without compilers; returns the one directory on PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    for name in ("CXX", "CUDA_HOME", "CUDA_PATH", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolchain, "USUAL_CUDA", tmp_path / "no-cuda")
    monkeypatch.syspath_prepend(path)  # remembers what is there now; a test that calls it would remember the rest alone
    monkeypatch.setattr("sys.path", [p for p in sys.path if not (Path(p) / "nvidia").is_dir()])
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    return path
