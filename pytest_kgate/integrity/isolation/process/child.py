"""A child process with a channel to it: how it is started, and how it is ended. Linux only."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.system.child_process import parent_pipe
from pytest_kgate.system.child_process import signal_all

_GRACE_SECONDS = 2.0
"""How long a process that has closed its channel may take to end, so that its exit status is known."""


@dataclass(frozen=True)
class Child:
    """A child process, in a session of its own."""

    process: subprocess.Popen[bytes]
    channel: Channel
    """This process's end."""
    output: IO[str]
    """The file that the child writes to, as standard output and standard error."""

    def exit_status(self) -> int | None:
        """The status of a child that has closed its channel, as `Popen` gives it; None where it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(_GRACE_SECONDS)
        return None


@contextlib.contextmanager
def start_child(
    command: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[Child]:
    """Start a child in this folder, and kill it and all of its session at the end of the block.

    To the command are added the file descriptors of the child's end of the channel and of a pipe that reads end-of-file
    once this process has ended, then the arguments.
    """
    with contextlib.ExitStack() as stack:
        output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed by the stack)
        stack.enter_context(output)
        pipe = stack.enter_context(parent_pipe())
        channel, theirs = Channel.pair()
        stack.callback(channel.close)
        process = subprocess.Popen(
            [*command, str(theirs.fd), str(pipe), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fd, pipe),
            start_new_session=True,
        )
        theirs.close()
        stack.callback(_end, process)
        yield Child(process, channel, output)


def _end(process: subprocess.Popen[bytes]) -> None:
    signal_all(process, signal.SIGKILL)
    process.kill()
    process.wait()
