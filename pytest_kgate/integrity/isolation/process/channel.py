"""The channel between the judging process and a child of it: messages of JSON, with at most one file descriptor.

Nothing that a child sends is executed or unpickled, which is why this is not `multiprocessing.connection`. Linux only.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

_LONGEST = 2**16
"""The most bytes of a message. A memory layout takes some hundred; texts are cut."""

_STEP_SECONDS = 0.2


class Channel:
    """One end of a channel: a UNIX socket that keeps messages apart (SOCK_SEQPACKET)."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends of a new channel."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def of(cls, fd: int) -> Channel:
        """The end that this process inherited as a file descriptor."""
        return cls(socket.socket(fileno=fd))

    @property
    def fd(self) -> int:
        """The file descriptor, for a process that inherits it."""
        return self._end.fileno()

    def send(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Send a message, and a file descriptor with it; raises `OSError` where the other end is closed."""
        data = json.dumps(message).encode("ascii")
        socket.send_fds(self._end, [data], [] if fd is None else [fd])

    def messages(self) -> Iterator[tuple[dict[str, Any], int | None]]:
        """Each message and the file descriptor that came with it, until the other end is closed; for the child."""
        while True:
            data, fds, _, _ = socket.recv_fds(self._end, _LONGEST, 1)
            if not data:
                return
            yield _parsed(data), fds[0] if fds else None

    def answer(self) -> dict[str, Any]:
        """A message, without any file descriptor that came with it; for the judging process.

        Raises `EOFError` or `OSError` where the other process has ended, `ValueError` where it sent no JSON object.
        """
        if threading.current_thread() is not threading.main_thread():
            # A deadline ends this wait by a signal in the main thread alone; elsewhere Python code has to run for it.
            while not select.select([self._end], [], [], _STEP_SECONDS)[0]:
                pass
        data = self._end.recv(_LONGEST)
        if not data:
            raise EOFError
        return _parsed(data)

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message
