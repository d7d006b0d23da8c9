"""Tell foreign processes on a GPU from our own and those of other kgate sessions, which take turns with this one.

Every process that races on a GPU leaves its id in a folder that all processes of the machine share, whoever runs them.
They take turns by the lease, so that a peer waits while another times.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.system import procfs
from pytest_kgate.system.folders.shared_folder import shared_folder


class Peers:
    """The kgate processes of one GPU; making it adds this one."""

    def __init__(self, gpu: str) -> None:
        self._folder = shared_folder() / f"pytest-kgate-{gpu}.peers"
        self._folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # another user made it
            self._folder.chmod(0o1777)
        self.add(os.getpid())
        atexit.register(self._file(os.getpid()).unlink, missing_ok=True)

    def add(self, pid: int) -> None:
        """Count this process among the peers as long as it lives."""
        with contextlib.suppress(OSError):  # a full disk: the process then counts as foreign
            self._file(pid).write_text(_started(pid), encoding="ascii")

    def _file(self, pid: int) -> Path:
        """Each user has files of their own: what another left, one can't write to."""
        return self._folder / f"{pid}-{os.getuid()}"

    def alive(self) -> set[int]:
        """This process and its peers that still run; a file that a killed process left is removed."""
        found = {os.getpid()}
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.name.partition("-")[0])
                started = _started(pid)
                if started and started == path.read_text(encoding="ascii"):
                    found.add(pid)
                else:
                    path.unlink(missing_ok=True)
        return found

    def count_others(self, processes: Sequence[int]) -> int:
        """How many of these processes, those on the GPU, are neither ours nor a peer's.

        Ours are also the parents and the children of a peer: what starts pytest, and what a test starts. In a container
        the ids may be those of the host. Our own is then not among them, and only numbers can be compared: every
        process beyond the peers' number counts as foreign.
        """
        peers = self.alive()
        if os.getpid() not in processes:
            return max(0, len(processes) - len(peers))
        unknown = [pid for pid in processes if pid not in peers]
        if not unknown:
            return 0
        above = {pid for peer in peers for pid in _parents(peer)}
        return sum(1 for pid in unknown if pid not in above and not peers.intersection(_parents(pid)))


def _parents(pid: int) -> Iterator[int]:
    """The process's parent, its parent, and so on; nothing where /proc does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        while pid > 1:
            pid = int(procfs.stat(pid)[1][1])
            yield pid


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks: an id is used again, the pair is not. Empty for none that runs."""
    try:
        return procfs.stat(pid)[1][19]
    except (OSError, IndexError):
        return ""
