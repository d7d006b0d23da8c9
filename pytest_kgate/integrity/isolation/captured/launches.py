"""What a candidate's process says of the kernels that one call launches: checked, since it may say anything.

What is said is never believed to be the candidate's work: that shows in the answers. These bounds keep a message from
costing much, and tell apart what can't be launched by another process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_KERNELS = 64
"""In one call."""

_MOST_PARAMETER_BYTES = 4096
_LONGEST_NAME = 4096
_MOST_SHARED_BYTES = 2**18
_MOST_THREADS = 1024
_MOST_BLOCKS = 2**36
_MOST_IN_CLUSTER = 16

Three = tuple[int, int, int]


class NotRelaunchable(Exception):
    """Why a candidate's kernels can't be launched by the timer's process, as a clause."""


@dataclass(frozen=True)
class KernelLaunch:
    """One launch of a kernel."""

    name: str
    """As it stands in the device code; mangled."""
    grid: Three
    block: Three
    shared_bytes: int
    """Dynamic shared memory of a block."""
    parameters: tuple[bytes, ...]
    """One value for each of the kernel's parameters, pointers and structures too."""
    cluster: Three
    """Blocks in a cluster; all 1 without."""
    cooperative: bool
    carveout: int = -1
    """The share of the L1 that is asked for as shared memory, in percent; -1 where that is left to the driver."""

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, for another process."""
        return {
            "name": self.name,
            "grid": list(self.grid),
            "block": list(self.block),
            "shared_bytes": self.shared_bytes,
            "parameters": [value.hex() for value in self.parameters],
            "cluster": list(self.cluster),
            "cooperative": self.cooperative,
            "carveout": self.carveout,
        }

    @classmethod
    def from_dict(cls, facts: Any) -> KernelLaunch:
        """The launch of which `to_dict` gave these facts; raises `NotRelaunchable` where they are no such facts."""
        if not isinstance(facts, dict):
            raise NotRelaunchable("its process sent a launch that is no object")
        name, values = facts.get("name"), facts.get("parameters")
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isascii():
            raise NotRelaunchable("its process sent a kernel's name that is none")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise NotRelaunchable("its process sent a kernel's parameters that are none")
        try:
            parameters = tuple(bytes.fromhex(value) for value in values)
        except ValueError:
            raise NotRelaunchable("its process sent a kernel's parameters that are none") from None
        if sum(map(len, parameters)) > _MOST_PARAMETER_BYTES or not all(parameters):
            raise NotRelaunchable(f"a kernel's parameters are empty, or take more than {_MOST_PARAMETER_BYTES} bytes")
        grid, block, cluster = (_three(facts.get(key), key) for key in ("grid", "block", "cluster"))
        if math.prod(grid) > _MOST_BLOCKS or math.prod(block) > _MOST_THREADS:
            raise NotRelaunchable("a kernel's grid or block is larger than any that a GPU takes")
        if math.prod(cluster) > _MOST_IN_CLUSTER:
            raise NotRelaunchable("a kernel's cluster is larger than any that a GPU takes")
        shared = facts.get("shared_bytes")
        if type(shared) is not int or not 0 <= shared <= _MOST_SHARED_BYTES:
            raise NotRelaunchable("a kernel's shared memory is larger than any that a GPU has")
        carveout = facts.get("carveout")
        if type(carveout) is not int or not -1 <= carveout <= 100:
            raise NotRelaunchable("its process sent a share of shared memory that is none")
        return cls(name, grid, block, shared, parameters, cluster, facts.get("cooperative") is True, carveout)


def launches_of(facts: Any) -> tuple[KernelLaunch, ...]:
    """The launches of one call, in their order; raises `NotRelaunchable` where these are no facts of such."""
    if not isinstance(facts, list) or not facts:
        raise NotRelaunchable("a call launches no kernel")
    if len(facts) > MOST_KERNELS:
        raise NotRelaunchable(f"a call launches more than {MOST_KERNELS} kernels")
    return tuple(map(KernelLaunch.from_dict, facts))


def _three(found: Any, what: str) -> Three:
    if not isinstance(found, Sequence) or len(found) != 3:
        raise NotRelaunchable(f"its process sent a {what} that is none")
    x, y, z = found
    if any(type(one) is not int or not 0 < one < 2**31 for one in (x, y, z)):
        raise NotRelaunchable(f"its process sent a {what} that is none")
    return x, y, z
