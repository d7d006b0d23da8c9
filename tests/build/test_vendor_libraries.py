from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from pytest_kgate.build import kernel
from pytest_kgate.build import registry
from pytest_kgate.build import vendor_libraries
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> vendor_libraries.Library:
    """A library of the test's own; where it may be, nothing is yet."""
    library = vendor_libraries.Library(
        "Answers", ("libkgate_answers.so.7",), ("kgate_answers/lib",), "pip install kgate-answers"
    )
    monkeypatch.setattr(vendor_libraries, "KNOWN", {"answers": library})
    monkeypatch.setattr(toolchain, "USUAL_CUDA", tmp_path / "cuda")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    return library


def make_library(folder: Path, soname: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "answers.c").write_text("int answer(void) { return 42; }")
    path = folder / soname
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", str(folder / "answers.c"), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


def test_a_missing_library_is_named_with_the_command_that_brings_it(known: vendor_libraries.Library) -> None:
    with pytest.raises(LibraryMissing, match=r"mine needs Answers: libkgate_answers\.so\.7: cannot open") as caught:
        vendor_libraries.need(["answers"], "mine")
    assert caught.value.todo == "Install it: pip install kgate-answers."


def test_a_file_that_is_no_library_says_why_it_was_refused(
    known: vendor_libraries.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "kgate_answers" / "lib"
    folder.mkdir(parents=True)
    (folder / "libkgate_answers.so.7").write_text("not machine code\n" * 99)
    with pytest.raises(LibraryMissing, match="invalid ELF header"):
        vendor_libraries.need(["answers"], "mine")


@pytest.mark.parametrize("place", ["package", "toolkit"])
def test_a_library_is_found_and_stays_loaded_under_its_name(
    place: str, known: vendor_libraries.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soname = f"libkgate_answers_{place}.so.7"  # a loaded library is found before any folder is looked at
    library = vendor_libraries.Library("Answers", (soname,), known.packages, known.install)
    monkeypatch.setattr(vendor_libraries, "KNOWN", {"answers": library})
    if place == "package":
        monkeypatch.syspath_prepend(tmp_path)
        make_library(tmp_path / "kgate_answers" / "lib", soname)
    else:
        make_library(tmp_path / "cuda" / "lib64", soname)
    with pytest.raises(OSError, match="cannot open"):
        ctypes.CDLL(soname)
    vendor_libraries.need(["answers"], "mine")
    assert ctypes.CDLL(soname).answer() == 42


def test_a_source_says_which_libraries_it_opens() -> None:
    wanted = {"cublas": ("cublas",), "hybrid_qkt": ("cublas",), "hybrid_pv": ("cublas",), "cutensor": ("cutensor",)}
    for name, entry in registry.implementations().items():
        if entry.status == "ready":
            assert registry.find_source(name).libraries == wanted.get(name, ())
    assert {name for names in wanted.values() for name in names} == set(vendor_libraries.KNOWN)


def test_a_misspelt_library_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="needs a library 'cublass', which is none of cublas, cutensor"):
        vendor_libraries.need(["cublass"], "mine")


def test_a_kernel_without_its_library_is_not_even_compiled(
    write_kernel, known: vendor_libraries.Library, empty_cache: Path
) -> None:
    source = write_kernel(before='#include "nowhere.h"  // library: answers')
    with pytest.raises(LibraryMissing, match="mine needs Answers"):
        kernel.load_kernel(source)
