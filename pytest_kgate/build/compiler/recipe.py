"""Everything that decides what a library's bytes are: source, compiler, flags, architecture."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pytest_kgate.build.compiler import arch as architecture
from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.compiler.confined import Confined
from pytest_kgate.build.compiler.flags import allowed_flags
from pytest_kgate.build.compiler.flags import first_refused
from pytest_kgate.build.registry import Source
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import UsageError

ABI_VERSION = 3
"""Of csrc/sdpa.h and of the binding's calls; a new number leaves all that was built before unused."""

_SPLIT = f"--split-compile={max(2, os.cpu_count() or 1)}"
"""Optimise functions in parallel: 6.2 s become 4.9 s for `mma` on two cores. The code that comes out is the same for
every number above 1, but not always that of 1."""

_SPLIT_SINCE = (12, 4)

_NVCC_VARIABLES = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN")


@dataclass(frozen=True)
class Recipe:
    """One library to build, and its place in the cache."""

    title: str
    """For people, knobs included: `wmma(BLOCK_M=64)`."""

    name: str
    source: Path
    output: str
    """File name of the library."""

    compiler: toolchain.Compiler
    flags: tuple[str, ...]
    arch: str
    include: tuple[Path, ...]
    """Searched for headers. The key holds what is found there (by content, or in `extra`), not the path."""

    libraries: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    """Versions of what lies outside: Python, pybind11, flags that nvcc takes from the environment."""

    confined: Confined | None = None
    """How a source is compiled that is not trusted; what comes out is the same."""

    @cached_property
    def source_hash(self) -> str:
        """Read once, for the key. Raises `UsageError` for a file that can't be read."""
        try:
            return cache.hash_sources(self.source, self.include, self.source.parent if self.confined else None)
        except OSError as error:
            raise UsageError(
                f"{error.filename} can't be read: {error.strerror}.", f"{self.title} is built from it."
            ) from error

    @cached_property
    def key(self) -> cache.Key:
        """Where the cache keeps the result."""
        parts = (ABI_VERSION, self.source_hash, self.flags, self.libraries, self.extra, self.arch)
        return cache.Key(self.name, cache.digest(*parts, self.compiler.version, self.compiler.command[1:], self.output))

    @property
    def command(self) -> str:
        """The compiler's command line; the library goes to the current directory."""
        include = [f"-I{directory}" for directory in self.include]
        compiler = toolchain.without_launchers(self.compiler) if self.confined else self.compiler
        words = [*compiler.command, *self.flags, *include, str(self.source), "-o", self.output]
        return shlex.join([*words, *self.libraries])


def recipe(
    source: Source,
    knobs: Mapping[str, int],
    *,
    arch: str | None = None,
    debug: bool = False,
    confined: Confined | None = None,
    include: tuple[Path, ...] | None = None,
) -> Recipe:
    """How to build a kernel source with these knobs.

    Raises `ToolchainMissing`, `UsageError`, and `BuildError` where the source sets a flag that it can't.

    `arch` is for CUDA sources; None is the current device's, or `arch.WITHOUT_GPU`. `debug` turns on what the source
    asserts (KGATE_DEBUG), and leaves the optimiser on: unoptimised device code (-G) is some ten times slower, needs
    other registers and shared memory, and is therefore not the kernel that is in question. Line numbers are in every
    build. `include` is where headers are looked for; None for today's csrc.
    """
    defines = [f"-D{name}={knobs[name]}" for name in sorted(knobs)]
    defines += ["-DKGATE_DEBUG"] if debug else []
    extra: tuple[str, ...] = ()
    if source.device_kind == "cuda":
        compiler = toolchain.cuda_compiler()
        arch = architecture.of_device() if arch is None else architecture.parse(arch)
        flags = ["-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC", "-lineinfo"]
        flags += ["--expt-relaxed-constexpr", "-Xptxas", "-v", architecture.gencode(arch)]
        flags += [word for flag in _own_statics(compiler) for word in ("-Xcompiler", flag)]
        flags += [_SPLIT] if compiler.release >= _SPLIT_SINCE else []
        extra = tuple(os.environ.get(name, "") for name in _NVCC_VARIABLES)
    else:
        compiler = toolchain.host_compiler()
        arch = platform.machine()
        flags = ["-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", *_own_statics(compiler)]
    refused = first_refused(source.flags, source.device_kind)
    if refused is not None:
        raise BuildError(
            f"{source.name} does not compile: it sets the flag {refused}, which a source can't.",
            f"These can be set: {allowed_flags(source.device_kind)}.",
        )
    chosen = ", ".join([*(f"{name}={knobs[name]}" for name in sorted(knobs)), *(["debug"] if debug else [])])
    return Recipe(
        title=f"{source.name}({chosen})" if chosen else source.name,
        name=source.name,
        source=source.path,
        output=f"{source.name}.so",
        compiler=compiler,
        flags=(*flags, *source.flags, *defines),
        arch=arch,
        include=(csrc_directory(),) if include is None else include,
        extra=extra,
        confined=confined,
    )


def _own_statics(compiler: toolchain.Compiler) -> tuple[str, ...]:
    # g++ makes the statics of templates and inline functions one object for the whole process, even with
    # RTLD_LOCAL: a second build of a kernel would find "set-up done" from the first.
    return ("-fno-gnu-unique",) if compiler.is_gnu else ()
