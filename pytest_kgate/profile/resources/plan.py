"""What a kernel library would launch, by the plan that those have which are built on csrc/cuda/launch.cuh: no GPU."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.build.compiler import ptxas

if TYPE_CHECKING:
    from pytest_kgate.problems.shape import Shape

_DTYPES = {"float16": 1, "bfloat16": 2, "float8_e4m3fn": 3}
_ROOM = 4096


class _Arguments(ctypes.Structure):
    """`kgate::SdpaArgs`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in "qkvo"),
        *((name, ctypes.c_int32) for name in ("batch", "heads", "seqlen", "head_dim")),
        *((f"{name}_stride", ctypes.c_int64 * 3) for name in "qkvo"),
        ("scale", ctypes.c_float),
        ("causal", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_int64),
        ("kv_heads", ctypes.c_int32),
        ("kv_seqlen", ctypes.c_int32),
        ("window", ctypes.c_int32),
        ("softcap", ctypes.c_float),
        ("bias", ctypes.c_void_p),
        ("bias_stride", ctypes.c_int64 * 3),
        ("lse", ctypes.c_void_p),
        ("lse_stride", ctypes.c_int64 * 3),
        *((f"{name}_scale", ctypes.c_void_p) for name in "qkv"),
    )


class _Planned(ctypes.Structure):
    """`kgate::PlannedLaunch`."""

    _fields_ = (
        ("kernel", ctypes.c_int64),
        ("blocks", ctypes.c_int64),
        ("threads", ctypes.c_int32),
        ("shared_bytes", ctypes.c_int32),
    )


class Refused(Exception):
    """The library refused the call."""


@dataclass(frozen=True)
class Launch:
    """One launch of a call."""

    kernel: str
    """As `Resources.kernel`."""

    blocks: int
    threads: int
    """Of a block."""

    shared_bytes: int
    """Of a block, dynamic."""


def plan(library: Path, shape: Shape, dtype: str, multiprocessors: int, **beyond: float) -> list[Launch]:
    """The launches of one call on a GPU of the library's architecture with so many multiprocessors.

    `beyond` are further fields of the arguments, plain where they are not given. Raises `Refused` with the library's
    message, `AttributeError` where it has no plan, `KeyError` for an element type that no kernel takes.
    """
    loaded = ctypes.CDLL(str(library))
    loaded.kgate_message.restype = ctypes.c_char_p
    row = (shape.heads * shape.seqlen * shape.head_dim, shape.seqlen * shape.head_dim, shape.head_dim)
    strides = [(ctypes.c_int64 * 3)(*row) for _ in range(4)]
    extents = (shape.batch, shape.heads, shape.seqlen, shape.head_dim)
    somewhere = (4096 * (i + 1) for i in range(4))  # never read
    arguments = _Arguments(*somewhere, *extents, *strides, 0.125, shape.causal, _DTYPES[dtype], 65536, 2**50)
    assert ctypes.sizeof(arguments) == 280
    arguments.kv_heads = shape.heads if shape.kv_heads is None else shape.kv_heads
    arguments.kv_seqlen = shape.seqlen if shape.kv_seqlen is None else shape.kv_seqlen
    for field, value in beyond.items():
        setattr(arguments, field, value)
    launches = (_Planned * _ROOM)()
    count = loaded.kgate_plan(ctypes.byref(arguments), multiprocessors, launches, _ROOM)
    if count < 0:
        raise Refused(loaded.kgate_message().decode())
    symbols = _symbols(library)
    names = ptxas.demangled([symbols[launch.kernel] for launch in launches[:count]])
    return [
        Launch(name, launch.blocks, launch.threads, launch.shared_bytes)
        for name, launch in zip(names, launches[:count], strict=True)
    ]


@lru_cache(maxsize=64)
def _symbols(library: Path) -> dict[int, str]:
    """The mangled names of a library's functions, by their offset."""
    listed = subprocess.run(["nm", library], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(row[0], 16): row[2] for row in rows if len(row) == 3 and row[1] in "tTwW"}
