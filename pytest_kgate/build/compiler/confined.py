"""Sources that are not trusted are compiled by a compiler that reads no other files, and ends at limits.

A source does harm before it is called: `#include`, `#embed` and the assembler's `.incbin` put any file of the user's
into the library or into the error message, and templates can take all memory, time and disk. What confines the compiler
is given from above, as a program that is put before its command.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest_kgate
from pytest_kgate.errors import BuildError

TOO_LONG = "kgate: ended at the limit of time"
"""The line that the program prints where it has ended the compiler."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
_SEARCHED = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "LD_LIBRARY_PATH")
"""Variables with folders that compilers search."""
_KEPT = (*_SEARCHED, "PATH", "CUDA_HOME", "CUDA_PATH", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN")
"""What a compiler is told of the environment, whose other variables may be secrets."""

_READ = re.compile(r"(?<![^\s:'])(?P<file>[^\s:']+)'?(?: for reading)?: Permission denied")
"""It begins where a word does: from each letter of a long one on, it would take minutes."""
_NOT_FOUND = re.compile(r"Error: file not found: (?P<file>\S+)")
_MEMORY = re.compile(r"out of memory|memory exhausted|[Cc]annot allocate memory|bad_alloc")
_OUTPUT = re.compile(r"[Ff]ile size limit exceeded|[Ff]ile too large")


@dataclass(frozen=True)
class Confined:
    """A program that confines a compiler, and the limits that it is told."""

    program: tuple[str, ...]
    """It takes the limits as JSON, then the command that it confines."""
    seconds: float
    """For one source."""
    memory_bytes: int = 2**33
    """For each process of the compiler's."""
    file_bytes: int = 2**28
    """The largest file that it may write."""

    def command(
        self, compile_command: Sequence[str], readable: Iterable[Path], folder: Path
    ) -> tuple[list[str], dict[str, str]]:
        """The command that compiles confined, and its environment.

        What is `readable`, and the system's programs and headers, can be read; `folder` can be written to.
        """
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        searched = [one for name in _SEARCHED for one in kept.get(name, "").split(os.pathsep) if one]
        limits = {
            "readable": [*_SYSTEM, *map(str, readable), *searched, str(Path(compile_command[0]).parent)],
            "writable": str(folder),
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "file_bytes": self.file_bytes,
        }
        own = {"TMPDIR": str(folder), "HOME": str(folder), "CCACHE_DISABLE": "1", "LC_ALL": "C"}
        path = {"PYTHONPATH": str(Path(pytest_kgate.__file__).parents[1])}
        return [*self.program, json.dumps(limits), *compile_command], {**kept, **own, **path}

    def refusal(self, title: str, said: str, ended: str) -> BuildError | None:
        """Why a source was not compiled that asked for too much; None where it is just wrong.

        `said` are the compiler's words, `ended` those of the program.
        """
        if TOO_LONG in ended:
            return _refused(title, f"it takes longer than {self.seconds:g} s", "", said)
        if _MEMORY.search(said):
            memory = f"{self.memory_bytes / 2**30:.3g} GiB of memory"
            return _refused(title, f"its compiler needs more than {memory}", "", said)
        if _OUTPUT.search(said):
            return _refused(title, f"it makes a file of more than {self.file_bytes / 2**20:.3g} MiB", "", said)
        if found := _READ.search(said):
            return may_not_read(title, found["file"], said)
        found = _NOT_FOUND.search(said)  # what the assembler says of all that it can't open
        return may_not_read(title, found["file"], said) if found and _is_there(found["file"]) else None


def _is_there(file: str) -> bool:
    return Path(file).is_absolute() and Path(file).exists()


def may_not_read(title: str, file: str, said: str = "") -> BuildError:
    """The refusal of a source that names a file which is not its own."""
    todo = "Such a source reads headers in its own folder, those of csrc, and the compiler's: put what it needs there."
    return _refused(title, f"it reads {file}, which a source that is not trusted may not", todo, said)


def _refused(title: str, why: str, todo: str, said: str) -> BuildError:
    shown = f"\n\n{said.rstrip()}\n" if said.strip() else ""
    return BuildError(f"{title} does not compile: {why}.{shown}", todo or "Make it smaller.")
