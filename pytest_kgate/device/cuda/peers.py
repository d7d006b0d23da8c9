"""Whose processes are on a GPU: ours, of other kgate processes that take turns with us, or foreign.

Every process that races on a GPU leaves its id in a folder that all processes of this user share. They take turns by
the lease, so that a peer waits while another times.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.system import procfs


class Peers:
    """The kgate processes of one GPU; making it adds this one."""

    def __init__(self, gpu: str) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"pytest-kgate-{os.getuid()}" / f"{gpu}.peers"
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.add(os.getpid())
        atexit.register((self._folder / str(os.getpid())).unlink, missing_ok=True)

    def add(self, pid: int) -> None:
        """Count this process among the peers as long as it lives."""
        (self._folder / str(pid)).write_text(_started(pid), encoding="ascii")

    def alive(self) -> set[int]:
        """This process and its peers that still run; a file that a killed process left is removed."""
        found = {os.getpid()}
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError, ValueError):
                started = _started(int(path.name))
                if started and started == path.read_text(encoding="ascii"):
                    found.add(int(path.name))
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
