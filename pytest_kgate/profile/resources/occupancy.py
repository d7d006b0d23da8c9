"""How many blocks of a kernel an SM holds at once, computed as CUDA's occupancy calculator does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Multiprocessor:
    """What an SM can hold, and how many a usual GPU has of them."""

    threads: int
    blocks: int
    shared_bytes: int
    count: int
    """Of the largest GPU of this architecture that is sold as a card."""


MULTIPROCESSORS: Mapping[str, Multiprocessor] = MappingProxyType(
    {
        "sm_80": Multiprocessor(2048, 32, 164 * 1024, 108),
        "sm_86": Multiprocessor(1536, 16, 100 * 1024, 84),
        "sm_87": Multiprocessor(1536, 16, 164 * 1024, 16),
        "sm_89": Multiprocessor(1536, 24, 100 * 1024, 142),
        "sm_90": Multiprocessor(2048, 32, 228 * 1024, 132),
        "sm_100": Multiprocessor(2048, 32, 228 * 1024, 148),
        "sm_103": Multiprocessor(2048, 32, 228 * 1024, 160),
        "sm_120": Multiprocessor(1536, 24, 100 * 1024, 188),
        "sm_121": Multiprocessor(1536, 24, 100 * 1024, 48),
    }
)
"""CUDA C++ programming guide, technical specifications per compute capability."""

_REGISTERS = 65536
_PARTITIONS = 4
"""Of an SM: each has a quarter of the registers, and a warp stays in one."""
_REGISTERS_AT_ONCE = 256
"""Registers are given to a warp in units of so many."""
_SHARED_AT_ONCE = 128
_RESERVED_SHARED_BYTES = 1024
"""That each block takes for the system's own use."""


def multiprocessor(arch: str) -> Multiprocessor | None:
    """The multiprocessor of an architecture such as `sm_90a`; None for one that is not in the table."""
    return MULTIPROCESSORS.get(arch.rstrip("af"))


def resident_blocks(sm: Multiprocessor, threads: int, registers: int, shared_bytes: int) -> int:
    """How many blocks of so many threads fit, by threads, registers of a thread, and shared memory of a block."""
    warps = -(-threads // 32)
    of_a_warp = -(-registers * 32 // _REGISTERS_AT_ONCE) * _REGISTERS_AT_ONCE
    at_once = -(-warps // _PARTITIONS) * _PARTITIONS
    if of_a_warp * at_once > _REGISTERS:
        return 0
    by_registers = _REGISTERS // _PARTITIONS // of_a_warp * _PARTITIONS // warps if registers else sm.blocks
    shared = -(-(shared_bytes + _RESERVED_SHARED_BYTES) // _SHARED_AT_ONCE) * _SHARED_AT_ONCE
    return min(sm.blocks, sm.threads // 32 // warps, by_registers, sm.shared_bytes // shared)
