"""What a lock file holds: versions and flags that decide what is measured, and how; not what changes by itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from pytest_kgate import __version__
from pytest_kgate.build.compiler.toolchain import cuda_compiler
from pytest_kgate.build.compiler.toolchain import host_compiler
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.system.provenance.environment import session_packages

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.evaluation.options.options import Options

OPTIONS = (
    *("timer", "cache", "budget", "rule", "integrity", "clean", "weak", "foreign_load", "inconclusive"),
    *("isolate", "processes", "sdpa_backend", "arch", "debug"),
)
"""Those of a session that decide how it measures and judges."""

_FLAGS = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "CXXFLAGS", "OMP_NUM_THREADS", "CUDA_LAUNCH_BLOCKING")
"""Environment variables that change what compilers make, or how it runs."""

_BUILD_PACKAGES = ("pybind11", "ninja", "cmake")
_VENDOR = "nvidia-"
"""PyPI packages of CUDA's libraries and compilers begin so."""


def versions_of(device: Device, options: Options, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What is installed and asked for here, by name: `package torch`, `driver`, `nvcc`, `option timer`."""
    environment = device.environment()
    found: dict[str, object] = {f"package {name}": version for name, version in _packages().items()}
    found |= {"python": platform.python_version(), "pytest-kgate": __version__}
    gpu, cpu = environment.get("gpu"), environment.get("cpu")
    if gpu:
        found |= {"gpu": gpu.get("name"), "driver": gpu.get("driver"), "power limit": gpu.get("power_limit_w")}
        found |= {"cuda": environment.get("cuda_runtime"), "cudnn": environment.get("cudnn")}
    if cpu:
        found |= {"cpu": cpu["model"], "usable cores": cpu["usable_cores"], "threads": cpu["torch_threads"]}
    for name, compiler in (("c++", host_compiler), ("nvcc", cuda_compiler)):
        try:
            found[name] = compiler().name
        except ToolchainMissing:
            continue  # what is not there is not locked
    found |= {f"option {name}": getattr(options, name) for name in OPTIONS}
    found |= {f"environment {name}": environ.get(name) for name in _FLAGS}
    return {name: str(value) for name, value in found.items() if value is not None}


def differences(locked: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What differs, a clause each: `driver is 580.95, locked 570.86`."""
    names = [*locked, *(name for name in here if name not in locked)]
    return [
        f"{name} is {here.get(name, 'not there')}, locked {locked.get(name, 'without it')}"
        for name in names
        if here.get(name) != locked.get(name)
    ]


def _packages() -> dict[str, str]:
    """Those that records tell of, those that build kernels, and NVIDIA's."""
    found = dict(session_packages())
    for one in metadata.distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        if name in _BUILD_PACKAGES or name.startswith(_VENDOR):
            found[name] = one.version
    return dict(sorted(found.items()))
