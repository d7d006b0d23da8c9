"""What confines the process of an isolated candidate: capabilities, Landlock, seccomp; and which of them hold."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.integrity.isolation.process.confinement import capabilities
from pytest_kgate.integrity.isolation.process.confinement.landlock import apply_landlock
from pytest_kgate.integrity.isolation.process.confinement.landlock import apply_to_reading
from pytest_kgate.integrity.isolation.process.confinement.landlock import scopes_signals
from pytest_kgate.integrity.isolation.process.confinement.seccomp import apply_seccomp

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.integrity import ConfinementFacts


@dataclass(frozen=True)
class Confinement:
    """What holds for a process and all that it starts."""

    landlock: int
    """The version of Landlock that keeps it from writing to files and from other processes' memory; 0 for none."""
    seccomp: bool
    """Whether a filter keeps it from system calls that reach other processes, or whose effects last."""

    def missing(self) -> list[str]:
        """A warning for each part of the confinement that the machine does not have."""
        found = []
        if not self.landlock:
            found.append(
                "this kernel has no Landlock, so the candidate could write to your files, and its source have its "
                "compiler read them"
            )
        if not self.seccomp:
            found.append(
                "this machine can't filter system calls, so the candidate could slow or stop other processes of yours"
            )
        return [f"isolated, but not confined: {one}" for one in found]

    def to_dict(self) -> ConfinementFacts:
        """Built-in types, for the record."""
        return {"landlock": self.landlock, "seccomp": self.seccomp}

    def to_message(self) -> dict[str, str]:
        """What holds, as a message for the judging process."""
        return {"landlock": str(self.landlock), "seccomp": str(int(self.seccomp))}

    @classmethod
    def from_message(cls, message: Mapping[str, str]) -> Confinement:
        """Read what `to_message` said."""
        return cls(int(message["landlock"]), bool(int(message["seccomp"])))


def confine(folder: Path, *, cuda: bool) -> Confinement:
    """Confine this thread and all that it starts to `folder`, for good; call it while there is no other thread.

    `cuda`: whether the GPU's device files stay writable. Raises `OSError` where the kernel refuses.
    """
    capabilities.give_up()
    landlock = apply_landlock(folder, cuda=cuda)
    # CUDA's driver makes a socket as it starts, by which processes could share managed memory.
    return Confinement(landlock, apply_seccomp(signals=not scopes_signals(landlock), sockets=not cuda))


def confine_compiler(folder: Path, readable: Sequence[str]) -> None:
    """Confine this thread and all that it starts to reading these paths and writing to `folder`, without a network.

    Raises `OSError` where the kernel refuses.
    """
    capabilities.give_up()
    landlock = apply_to_reading(folder, readable)
    apply_seccomp(signals=not scopes_signals(landlock), sockets=True)
