"""The compilers of this machine: where they are, and which versions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from pytest_kgate.build.compiler import cache
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.system import json_file

USUAL_CUDA = Path("/usr/local/cuda")
"""Where NVIDIA's installers put the toolkit without putting it on PATH."""

_PYPI = "nvidia-cuda-nvcc nvidia-cuda-crt nvidia-nvvm nvidia-cuda-runtime nvidia-cuda-cccl"
_LAUNCHERS = ("ccache", "sccache", "distcc")
_KEPT = "compilers.json"

_versions: dict[str, str] = {}


@dataclass(frozen=True)
class Compiler:
    """A compiler, as the builder calls it."""

    command: tuple[str, ...]
    """Path of the executable, and the flags without which it doesn't work here."""

    version: str
    """Its whole answer to `--version`; a part of every cache key."""

    name: str
    """One line for people: `nvcc 13.0.88`, `g++ 12.2.0`."""

    is_gnu: bool
    """g++, rather than clang++ or nvcc."""

    @property
    def release(self) -> tuple[int, ...]:
        """(13, 0, 88) of nvcc 13.0.88; empty where the compiler doesn't say."""
        return tuple(int(part) for part in self.name.rpartition(" ")[2].split(".") if part.isdigit())


def host_compiler() -> Compiler:
    """`$CXX`, else c++, g++ or clang++ from PATH. Raises `ToolchainMissing`."""
    if chosen := os.environ.get("CXX"):
        words = shlex.split(chosen)
        path = shutil.which(words[0]) if words else None
        if path is None:
            raise ToolchainMissing(
                f"CXX={chosen} names a C++ compiler that is not there.",
                "Correct CXX, or unset it to use g++.",
            )
        return _identified((path, *words[1:]))
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return _identified((path,))
    raise ToolchainMissing(
        "No C++ compiler was found: neither CXX nor PATH leads to c++, g++ or clang++.",
        "Install one (Debian and Ubuntu: `apt install g++`; conda: `conda install cxx-compiler`).",
    )


def cuda_compiler() -> Compiler:
    """nvcc from PATH, CUDA_HOME, CUDA_PATH, /usr/local/cuda or PyPI packages. Raises `ToolchainMissing`."""
    for command in _nvcc_candidates():
        if os.access(command[0], os.X_OK):
            host = host_compiler()
            driver = next(word for word in host.command if Path(word).name not in _LAUNCHERS)
            flags = () if _names_its_host_compiler() else ("-ccbin", driver)
            nvcc = _identified(command)
            version = f"{nvcc.version}\n{host.version}"
            return Compiler((*nvcc.command, *flags), version, nvcc.name, is_gnu=host.is_gnu)
    raise ToolchainMissing(
        "No CUDA compiler was found: nvcc is neither on PATH, nor below CUDA_HOME or CUDA_PATH, nor in "
        f"{USUAL_CUDA}, nor among this Python's packages.",
        f"Set CUDA_HOME to a CUDA toolkit, or `pip install {_PYPI}`.",
    )


def folders(compiler: Compiler) -> list[Path]:
    """Where this compiler's own files are, and what the flags name without which it doesn't work here."""
    found = [Path(word[2:]) for word in compiler.command if word[:2] in ("-I", "-L")]
    for path in _executables(compiler.command):
        installed = path.parent.parent
        shared = installed == Path("/") or Path.home().is_relative_to(installed)  # ~/bin, /bin
        found.append(path.parent if shared else installed)
    return found


def without_launchers(compiler: Compiler) -> Compiler:
    """The compiler without programs before it that answer from a cache of theirs, or have another machine compile."""
    command = [word for word in compiler.command if Path(word).name not in _LAUNCHERS]
    return replace(compiler, command=tuple(command))


def ninja() -> Path:
    """The ninja of the PyPI package, else of PATH. Raises `ToolchainMissing`."""
    try:
        from ninja import BIN_DIR

        packaged = Path(BIN_DIR) / "ninja"
        if os.access(packaged, os.X_OK):
            return packaged
    except ImportError:
        pass
    if found := shutil.which("ninja"):
        return Path(found)
    raise ToolchainMissing("ninja was not found.", "Install it by `pip install ninja`.")


def _nvcc_candidates() -> Iterator[tuple[str, ...]]:
    if found := shutil.which("nvcc"):
        yield (found,)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(variable):
            yield (str(Path(home) / "bin" / "nvcc"),)
    yield (str(USUAL_CUDA / "bin" / "nvcc"),)
    try:
        spec = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        spec = None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for package in sorted(Path(place).glob("cu[0-9]*"), reverse=True):
            yield (str(package / "bin" / "nvcc"),)
        runtime = Path(place) / "cuda_runtime"
        yield (
            str(Path(place) / "cuda_nvcc" / "bin" / "nvcc"),
            f"-I{runtime / 'include'}",
            f"-L{runtime / 'lib'}",
        )


def _names_its_host_compiler() -> bool:
    given = " ".join(os.environ.get(name, "") for name in ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"))
    return bool(os.environ.get("NVCC_CCBIN")) or "-ccbin" in given or "--compiler-bindir" in given


def _identified(command: Sequence[str]) -> Compiler:
    version = _version(command)
    number = re.search(r"V(\d+\.\d+\.\d+)", version) or re.search(r"(\d+\.\d+(?:\.\d+)?)", version)
    label = Path(command[0]).name + (f" {number[1]}" if number else "")
    gnu = "Free Software Foundation" in version
    return Compiler(tuple(command), version, label, is_gnu=gnu)


def _version(command: Sequence[str]) -> str:
    """The compiler's `--version`, asked for once for as long as its files stay as they are.

    Starting nvcc costs more than a whole warm load. The answer is therefore kept beside the cache, with the
    path, size and time of the executable and, where that is a small script, of the one that it starts.
    """
    asked = "\n".join((*command, *(_stamp(path) for path in _executables(command))))
    if asked in _versions:
        return _versions[asked]
    kept = cache.root() / _KEPT
    try:
        version = json.loads(kept.read_bytes())[asked]
        if not isinstance(version, str):
            raise TypeError(version)
    except (OSError, ValueError, KeyError, TypeError):
        version = _ask(command)
        _keep(kept, {asked: version})
    _versions[asked] = version
    return version


def _executables(command: Sequence[str]) -> list[Path]:
    found = [Path(path).resolve() for word in command if (path := shutil.which(word))]
    for script in [path for path in found if path.stat().st_size < 4096]:
        words = re.findall(r"(/[^\s\"']+)", script.read_text(encoding="utf-8", errors="replace"))
        found += [Path(path).resolve() for word in words if (path := shutil.which(word))]
    return found


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{path} {status.st_mtime_ns} {status.st_size}"


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        answer = getattr(error, "stderr", None) or ""
        raise ToolchainMissing(
            f"The compiler {command[0]} does not answer to --version: {error}. {answer}".rstrip(),
            "Repair it, or point PATH (for nvcc: CUDA_HOME too; for C++: CXX) at one that works.",
        ) from error
    return done.stdout.strip()


def _keep(path: Path, fresh: Mapping[str, str]) -> None:
    """Add to what is kept; where that can't be written, the next process asks the compiler again."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            known = json.loads(path.read_bytes())
        except (OSError, ValueError):
            known = {}
        known = {**known, **fresh} if isinstance(known, dict) else dict(fresh)
        json_file.replace(path, json.dumps(known, indent=1))
    except OSError:
        pass
