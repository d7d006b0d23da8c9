"""Loading kernel libraries: the one binding module, compiled once for this Python, and what it opens."""

from __future__ import annotations

import importlib.util
import sysconfig
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import NamedTuple
from typing import Protocol
from typing import cast

from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.compiler.recipe import Recipe
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.problems.trees.foreign import said_by

_MODULE = "kgate_binding"


class Beyond(NamedTuple):
    """What a problem has beyond plain attention, as the fields of SdpaArgs in sdpa.h."""

    kv_heads: int
    kv_seqlen: int
    window: int
    """0 for none."""
    softcap: float
    """0 for none."""
    bias: int
    """Its address; 0 for none."""
    bias_strides: tuple[int, ...]
    """Of batch, head and row, in elements."""
    lse: int
    """The address to write it to; 0 where it is not asked for."""
    lse_strides: tuple[int, ...]
    q_scale: int
    """The address of a float32 number for each head of q, by which its 8-bit elements are multiplied; 0 for none."""
    k_scale: int
    v_scale: int


class Library(Protocol):
    """A kernel library that the binding has opened; `csrc/binding/binding.cpp` defines it."""

    has_sdpa: bool

    has_workspace: bool
    """Whether `sdpa` needs memory for intermediate results."""

    version: int
    """Of the sdpa.h that it was built against."""

    features: int
    """What it has declared: a sum of kgate::Feature of sdpa.h."""

    def workspace_bytes(self, shape: tuple[int, ...], causal: bool, dtype: int, beyond: Beyond | None, /) -> int:
        """Bytes of workspace that one problem needs; only where `has_workspace`."""
        ...

    def sdpa(
        self,
        q: int,
        k: int,
        v: int,
        o: int,
        shape: tuple[int, ...],
        q_stride: tuple[int, ...],
        k_stride: tuple[int, ...],
        v_stride: tuple[int, ...],
        o_stride: tuple[int, ...],
        scale: float,
        causal: bool,
        dtype: int,
        stream: int,
        workspace: int,
        workspace_bytes: int,
        beyond: Beyond | None,
        /,
    ) -> int:
        """Call `kgate_sdpa` with the GIL released. Pointers and the stream as integers, strides in elements.

        0, the kernel's own negative code, or one of the module's positive ones: nothing was called. `beyond` is None
        for plain attention.
        """
        ...

    def message(self) -> str:
        """The kernel's text for the last error of the calling thread; empty where it has none."""
        ...


class Binding(Protocol):
    """The compiled pybind11 module, which opens kernel libraries."""

    OUTPUT_OVERLAPS_INPUT: int
    OUTPUT_OVERLAPS_ITSELF: int
    EMPTY_OR_TOO_LARGE: int
    GROUPS_DO_NOT_FOLD: int
    NOT_DECLARED: int
    """The least code of those that say what a library has not declared; the rest of the code is the features."""
    VERSION: int
    """Of sdpa.h."""

    def feature_names(self, features: int) -> list[str]:
        """The names of the features in a sum of kgate::Feature."""
        ...

    def Library(self, path: str) -> Library:  # noqa: N802  (a class there)
        """Open a library. Raises `RuntimeError` with the loader's text."""
        ...


def binding_recipe() -> Recipe:
    """How to build `csrc/binding/binding.cpp` for the running Python. Raises `ToolchainMissing`."""
    import pybind11

    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise ToolchainMissing(
            f"Python's C headers are not installed: there is no {headers / 'Python.h'}.",
            "Install them (Debian and Ubuntu: `apt install python3-dev`).",
        )
    abi = sysconfig.get_config_var("SOABI") or sysconfig.get_python_version()
    csrc = csrc_directory()
    return Recipe(
        title="the Python binding",
        name=_MODULE,
        source=csrc / "binding" / "binding.cpp",
        output=_MODULE + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"),
        compiler=toolchain.host_compiler(),
        flags=("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"),
        arch=sysconfig.get_platform(),
        include=(csrc, Path(pybind11.get_include()), headers),
        libraries=("-ldl",),
        extra=(pybind11.__version__, abi),
    )


@lru_cache(maxsize=1)
def binding() -> Binding:
    """The module, from the cache or compiled. Raises `BuildError` and `ToolchainMissing`."""
    path = str(ninja.build(binding_recipe()).path)
    spec = importlib.util.spec_from_file_location(_MODULE, path, loader=ExtensionFileLoader(_MODULE, path))
    if spec is None or spec.loader is None:
        raise BuildError(f"Python can't import {path}.", "Delete that directory and run again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Binding", module)


def pending() -> list[Recipe]:
    """The binding's recipe while this process has not loaded it yet."""
    return [] if binding.cache_info().currsize else [binding_recipe()]


def open_library(path: Path, title: str) -> Library:
    """Open a kernel library and check that it is one. Raises `BuildError`."""
    try:
        library = binding().Library(str(path))
    except RuntimeError as error:
        raise BuildError(
            f"{title} was compiled, but can't be loaded: {said_by(error)}.",
            "An undefined symbol is a function that the source declares or calls but does not define.",
        ) from error
    if not library.has_sdpa:
        raise BuildError(
            f"{title} was compiled, but it has no function kgate_sdpa.",
            'Define `extern "C" int kgate_sdpa(const kgate::SdpaArgs*, void* stream)`; include "sdpa.h", '
            "which declares it. That is attention; a kernel of another operator is handed to kbench as a function that "
            "calls it, such as one of torch.utils.cpp_extension.load.",
        )
    if library.version > binding().VERSION:
        raise BuildError(
            f"{title} was built against version {library.version} of sdpa.h, and this pytest-kgate has version "
            f"{binding().VERSION}.",
            "Upgrade pytest-kgate, or include its own sdpa.h.",
        )
    return library
