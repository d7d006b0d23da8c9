"""Messages between the judging process and the one that runs the candidate: JSON, and at most one file descriptor.

Nothing of what a candidate's process sends is executed or unpickled. Linux only.
"""

from __future__ import annotations

import json
import socket
from typing import Any

_LONGEST = 2**16
"""Bytes of a message; a layout takes some hundred, and a text is cut."""


class Channel:
    """One end of it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def of(cls, fd: int) -> Channel:
        """The end that this process was started with."""
        return cls(socket.socket(fileno=fd))

    @property
    def fd(self) -> int:
        """For a process that is started with it."""
        return self._end.fileno()

    def send(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Raises `OSError` where nobody listens any more."""
        data = json.dumps(message).encode("ascii")
        socket.send_fds(self._end, [data], [] if fd is None else [fd])

    def receive(self) -> tuple[dict[str, Any], int | None]:
        """In the candidate's process: a message, and the descriptor that came with it. Raises `EOFError` at the end."""
        data, fds, _, _ = socket.recv_fds(self._end, _LONGEST, 1)
        if not data:
            raise EOFError
        return _parsed(data), fds[0] if fds else None

    def answer(self) -> dict[str, Any]:
        """In the judging process: a message, without whatever descriptor came with it.

        Raises `EOFError` or `OSError` where the other process has ended, `ValueError` where that is no message.
        """
        data = self._end.recv(_LONGEST)
        if not data:
            raise EOFError
        return _parsed(data)

    def close(self) -> None:
        """This end."""
        self._end.close()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message
