"""What constraints may ask of the device: sizes that decide whether a kernel with these knobs can run at all."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_kgate.build.compiler.arch import WITHOUT_GPU
from pytest_kgate.build.compiler.arch import of_capability
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.resources.occupancy import MULTIPROCESSORS
from pytest_kgate.search.space.configuration import Value

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "smem_bytes": "shared memory that one block may ask for",
        "sm_count": "multiprocessors of the GPU",
        "registers": "32-bit registers of a multiprocessor",
        "l2_bytes": "the GPU's L2 cache",
        "arch": "compute capability as a number: 90 for sm_90a",
        "warp_size": "threads of a warp",
        "cores": "CPU cores that this process may use",
        "simd": "bits of the CPU's widest vectors",
    }
)
"""Names that constraints may use beside their knobs, and what they are."""

_MIB = 2**20
_L2_BYTES = MappingProxyType(
    {
        "sm_80": 40 * _MIB,
        "sm_86": 6 * _MIB,
        "sm_87": 4 * _MIB,
        "sm_89": 96 * _MIB,
        "sm_90": 50 * _MIB,
        "sm_100": 126 * _MIB,
        "sm_103": 126 * _MIB,
        "sm_120": 128 * _MIB,
        "sm_121": 24 * _MIB,
    }
)
"""Of the GPUs that `MULTIPROCESSORS` counts the multiprocessors of, as NVIDIA's data sheets have it."""

_RESERVED_SHARED_BYTES = 1024
"""Of each block's, for the system's own use: what is left can be asked for."""


@functools.cache
def device_facts(arch: str | None, index: int | None) -> Mapping[str, Value]:
    """The values of `FACTS`: read of this CUDA device, unless another architecture than its own is asked for.

    `index` is None where no GPU is to be used; kernels are then compiled for `arch`, or the oldest that is known.
    Raises `UsageError` for an architecture without documented figures, such as one that is newer than this table.
    """
    gpu = None if index is None else _of_gpu(index)
    own = gpu is not None and arch in (None, f"sm_{gpu['arch']}", f"sm_{gpu['arch']}a", f"sm_{gpu['arch']}f")
    return MappingProxyType({**(gpu if gpu is not None and own else documented(arch or WITHOUT_GPU)), **_of_host()})


def documented(arch: str) -> dict[str, Value]:
    """Figures of the largest GPU of this architecture that is sold as a card."""
    sm = MULTIPROCESSORS.get(arch.rstrip("af"))
    if sm is None:
        raise UsageError(
            f"What {arch} has of each resource is not known here, and constraints over the device ask for it.",
            f"Known are {', '.join(MULTIPROCESSORS)}; on the GPU itself they are read.",
        )
    return {
        "smem_bytes": sm.shared_bytes - _RESERVED_SHARED_BYTES,
        "sm_count": sm.count,
        "registers": 65536,
        "l2_bytes": _L2_BYTES[arch.rstrip("af")],
        "arch": int(re.sub(r"\D", "", arch)),
        "warp_size": 32,
    }


def _of_gpu(index: int) -> dict[str, Value]:
    import torch

    found: Any = torch.cuda.get_device_properties(index)
    arch = of_capability(found.major, found.minor)
    read = {
        "smem_bytes": getattr(found, "shared_memory_per_block_optin", None),
        "sm_count": found.multi_processor_count,
        "registers": getattr(found, "regs_per_multiprocessor", None),
        "l2_bytes": getattr(found, "L2_cache_size", None),
        "arch": found.major * 10 + found.minor,
        "warp_size": getattr(found, "warp_size", None),
    }
    known = {name: value for name, value in read.items() if value is not None}
    # Older versions of PyTorch tell less.
    return known if len(known) == len(read) else {**documented(arch), **known}


def _of_host() -> dict[str, Value]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores or 1, "simd": _simd_bits()}


def _simd_bits() -> int:
    try:
        flags = set(re.findall(r"\b(?:avx512f|avx2?)\b", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        flags = set()
    return 512 if "avx512f" in flags else 256 if flags else 128
