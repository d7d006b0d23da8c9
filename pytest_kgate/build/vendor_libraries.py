"""Libraries of NVIDIA's that a kernel opens at run time: whether they are here, and which copy it gets.

A source that needs one says so where it includes its declarations: `#include "gemm/cublas.cuh"  // library: cublas`.
Kernels open a library by its name (csrc/gemm/dynamic_library.h); what is loaded here first, by path, is what they get.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError


@dataclass(frozen=True)
class Library:
    """A shared library, and where it may be."""

    title: str
    sonames: tuple[str, ...]
    """The names under which it is loaded, the preferred first."""

    packages: tuple[str, ...]
    """Folders with it in Python packages: package, then path."""

    install: str
    """The command that brings it."""

    runs: tuple[str, ...] = ()
    """Libraries whose kernels it launches as well, by their names in `KNOWN`."""


KNOWN = {
    "cublas": Library(
        "cuBLAS",
        ("libcublas.so.13", "libcublas.so.12"),
        ("nvidia/cu13/lib", "nvidia/cublas/lib"),
        "pip install nvidia-cublas",
    ),
    "cutensor": Library(
        "cuTENSOR 2",
        ("libcutensor.so.2",),
        ("cutensor/lib",),
        "pip install 'pytest-kgate[cutensor]'",
        runs=("cublas",),  # on Hopper its contractions are cuBLAS's nvjet kernels
    ),
}
"""By the name that a source uses."""


def with_theirs(names: Iterable[str]) -> tuple[str, ...]:
    """The libraries of these names, and those whose kernels they launch."""
    return tuple(dict.fromkeys(one for name in names for one in (name, *(KNOWN[name].runs if name in KNOWN else ()))))


def need(names: Iterable[str], title: str) -> None:
    """Load these libraries for the rest of the process.

    Raises `LibraryMissing` with what was found and the cure, `UsageError` for a name that is not in `KNOWN`.
    """
    for name in names:
        library = KNOWN.get(name)
        if library is None:
            known = ", ".join(KNOWN)
            raise UsageError(f"{title} needs a library {name!r}, which is none of {known}.", "Correct its source.")
        if reason := _load(library):
            raise LibraryMissing(f"{title} needs {library.title}: {reason}.", f"Install it: {library.install}.")


def _load(library: Library) -> str | None:
    """Load one library; returns why that is impossible, or None."""
    import torch  # noqa: F401  (brings cuBLAS along where it is a CUDA build; two copies in a process would be a waste)

    for soname in library.sonames:
        try:
            ctypes.CDLL(soname, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        return None
    refusals = []
    for path in _candidates(library):
        if not path.parent.name or path.is_file():
            try:
                ctypes.CDLL(str(path))
            except OSError as error:
                refusals.append(str(error))
                continue
            return None
    return refusals[0]


def _candidates(library: Library) -> Iterator[Path]:
    for soname in library.sonames:
        for folder in _folders(library):
            yield folder / soname
        yield Path(soname)  # wherever the loader looks: LD_LIBRARY_PATH, /etc/ld.so.conf


def _folders(library: Library) -> Iterator[Path]:
    for package, _, path in (place.partition("/") for place in library.packages):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(place) / path
    for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), str(toolchain.USUAL_CUDA)):
        if home:
            yield Path(home) / "lib64"
