"""Where a tool of the CUDA toolkit is, and which version of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_USUAL_CUDA = "/usr/local/cuda"
_USUAL_NSIGHT = "/opt/nvidia/nsight-compute"


def find_program(name: str) -> Path | None:
    """The tool on PATH, below CUDA_HOME or CUDA_PATH, beside nvcc, or in /usr/local/cuda; None where it is nowhere."""
    return next((path for path in _candidates(name) if os.access(path, os.X_OK)), None)


def not_found(name: str) -> str:
    """Half a sentence about a tool that `find_program` did not find."""
    return (
        f"{name} was not found: neither on PATH, nor below CUDA_HOME or CUDA_PATH, nor beside nvcc. It is a part "
        "of the CUDA toolkit"
    )


def _candidates(name: str) -> Iterator[Path]:
    if found := shutil.which(name):
        yield Path(found)
    homes = [os.environ[variable] for variable in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(variable)]
    if nvcc := shutil.which("nvcc"):
        homes.append(str(Path(nvcc).resolve().parent.parent))
    for home in (*homes, _USUAL_CUDA):
        yield Path(home) / "bin" / name
        yield Path(home) / name / name
        yield from _newest_first(Path(home), f"nsight-compute-*/{name}")
    yield from _newest_first(Path(_USUAL_NSIGHT), f"*/{name}")


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), reverse=True)


@lru_cache(maxsize=4)
def version_of(program: Path) -> str:
    """The program's version, `2025.3.0.0`; `unknown` where it does not say."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    match = re.search(r"Version\s+(\d[\d.]*\d)", done.stdout)
    return match[1] if match else "unknown"
