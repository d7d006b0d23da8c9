"""What a CUDA kernel takes of the device: the report of `ptxas -v`, parsed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import KernelFacts

_ENTRY = re.compile(r"Compiling entry function '(?P<name>[^']+)' for '(?P<arch>[^']+)'")
_PROPERTIES = re.compile(r"Function properties for (?P<name>\S+)")
_STACK = re.compile(
    r"(?<!\d)(?P<stack>\d{1,9}) bytes stack frame, (?P<stores>\d{1,9}) bytes spill stores, "
    r"(?P<loads>\d{1,9}) bytes spill loads"
)
_USED = re.compile(r"Used (?P<registers>\d{1,9}) registers")
_SHARED = re.compile(r"(?<!\d)(?P<bytes>\d{1,9})(?:\+\d{1,9})? bytes smem")
"""Numbers of nine digits at most: Python refuses to read thousands of them, which a source can have printed."""


@dataclass(frozen=True)
class Resources:
    """One `__global__` function, compiled for one architecture."""

    kernel: str
    """Demangled, without parameters: `kgate::attention<64, __half>`."""

    registers: int
    """Per thread."""

    shared_bytes: int
    """Static shared memory per block; what a launch asks for on top is not known to the compiler."""

    stack_bytes: int
    """Local memory per thread, spills included."""

    spill_store_bytes: int
    spill_load_bytes: int
    arch: str

    @property
    def spill_bytes(self) -> int:
        """Stores and loads together."""
        return self.spill_store_bytes + self.spill_load_bytes

    def to_dict(self) -> KernelFacts:
        """Built-in types only; what the cache keeps and the record shows."""
        # Key by key, as wherever a part of a record is made: type checkers hold each to the record's own schema.
        return {
            "kernel": self.kernel,
            "registers": self.registers,
            "shared_bytes": self.shared_bytes,
            "stack_bytes": self.stack_bytes,
            "spill_store_bytes": self.spill_store_bytes,
            "spill_load_bytes": self.spill_load_bytes,
            "arch": self.arch,
            "spill_bytes": self.spill_bytes,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Resources:
        """The inverse of `to_dict`. Raises `KeyError` for a field that is missing."""
        return cls(**{f.name: data[f.name] for f in fields(cls)})


def parse(log: str, demangle: Callable[[Sequence[str]], list[str]] | None = None) -> tuple[Resources, ...]:
    """The resources of every entry function in what `nvcc -Xptxas -v` printed for one architecture.

    ptxas reports a device function that was not inlined on its own and does not say who calls it: its
    spills are added to every kernel of the file, so that none is hidden. Other lines (warnings, compile
    times) are passed over. A source can have the compiler print such lines as well (`#pragma message`): the most
    that is said of a kernel holds, so that they make none smaller.
    """
    by_name: dict[tuple[str, str], dict[str, Any]] = {}
    shared_spills = {"spill_store_bytes": 0, "spill_load_bytes": 0}
    entry: dict[str, Any] = {}
    target: dict[str, Any] = {}
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            new = {"kernel": match["name"], "arch": match["arch"], "registers": 0, "shared_bytes": 0}
            new |= {"stack_bytes": 0, "spill_store_bytes": 0, "spill_load_bytes": 0}
            entry = target = by_name.setdefault((match["name"], match["arch"]), new)
        elif match := _PROPERTIES.search(line):
            target = entry if match["name"] == entry.get("kernel") else shared_spills
        elif match := _STACK.search(line):
            target["stack_bytes"] = max(int(match["stack"]), target.get("stack_bytes", 0))
            target["spill_store_bytes"] = target.get("spill_store_bytes", 0) + int(match["stores"])
            target["spill_load_bytes"] = target.get("spill_load_bytes", 0) + int(match["loads"])
        elif match := _USED.search(line):
            entry["registers"] = max(int(match["registers"]), entry.get("registers", 0))
            shared = _SHARED.search(line)
            entry["shared_bytes"] = max(int(shared["bytes"]) if shared else 0, entry.get("shared_bytes", 0))
    found = list(by_name.values())
    names = (demangle or demangled)([entry["kernel"] for entry in found])
    for entry, name in zip(found, names, strict=True):
        entry["kernel"] = name
        for spill in ("spill_store_bytes", "spill_load_bytes"):
            entry[spill] += shared_spills[spill]
    return tuple(Resources(**entry) for entry in found)


def demangled(names: Sequence[str]) -> list[str]:
    """The C++ names without parameters, by c++filt or CUDA's cu++filt; mangled where neither is there."""
    names = list(names)
    tool = which("c++filt") or which("cu++filt")
    if not names or tool is None:
        return names
    try:
        done = subprocess.run(
            [Path(tool), "-p"],
            input="\n".join(names),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return names
    lines = done.stdout.splitlines()
    return lines if len(lines) == len(names) else names
