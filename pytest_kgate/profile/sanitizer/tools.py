"""The four tools of compute-sanitizer, what a test may ask of them, and where the program is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
"""Bad addresses; races in shared memory; reads of global memory that nobody wrote; barriers that not all reach."""

_PROGRAM = "compute-sanitizer"
_USUAL_CUDA = "/usr/local/cuda"


@dataclass(frozen=True)
class Sanitize:
    """What a `sanitize` marker or `kgate sanitize` asks for."""

    tools: tuple[str, ...] = TOOLS
    kernels: str | None = None
    """A part of the names of the kernels to watch; None for all that the candidate launches."""
    full_size: bool = False
    """Whether a problem runs as it is where it has a smaller one."""

    def __post_init__(self) -> None:
        unknown = [tool for tool in self.tools if tool not in TOOLS]
        if unknown:
            raise ValueError(f"there is no tool {unknown[0]!r}; there are {', '.join(TOOLS)}")
        if self.kernels is not None and not (isinstance(self.kernels, str) and self.kernels):
            raise ValueError(f"kernels must be a part of a kernel's name, not {self.kernels!r}")
        if not isinstance(self.full_size, bool):
            raise ValueError(f"full_size must be True or False, not {self.full_size!r}")


def find_program() -> Path | None:
    """compute-sanitizer on PATH, below CUDA_HOME or CUDA_PATH, beside nvcc, or in /usr/local/cuda."""
    return next((path for path in _candidates() if os.access(path, os.X_OK)), None)


def _candidates() -> Iterator[Path]:
    if found := shutil.which(_PROGRAM):
        yield Path(found)
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    if nvcc := shutil.which("nvcc"):
        homes.append(str(Path(nvcc).resolve().parent.parent))
    for home in (*homes, _USUAL_CUDA):
        yield Path(home) / "bin" / _PROGRAM
        yield Path(home) / _PROGRAM / _PROGRAM


@lru_cache(maxsize=4)
def version_of(program: Path) -> str:
    """`2025.3.0.0`; `unknown` where it does not say."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    match = re.search(r"Version\s+(\d[\d.]*\d)", done.stdout)
    return match[1] if match else "unknown"
