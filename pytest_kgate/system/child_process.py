"""Child processes: their environment, how they end with their parent or by a timer, and what they said last."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from typing import Protocol

import pytest_kgate

_LINES = 6
"""Of a process's output, in the reason why it failed."""


_READ_BYTES = 2**16
"""Of the end of that output."""


ENDS_WITH = "KGATE_ENDS_WITH"
"""Private environment variable: the number of an inherited file, at whose end the process is to end itself."""

_SIGNAL_AT_PARENTS_END = 1
"""PR_SET_PDEATHSIG of prctl.h."""

_RUNS_CODE = ("LD_", "PYTHON")
"""Variables of these kinds can make a new process run code of anyone."""

_SLOWS = (
    *("GLIBC_TUNABLES", "MALLOC_"),
    *("ATEN_CPU", "ONEDNN_", "DNNL_", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU", "OPENBLAS_CORETYPE"),
)
"""These choose how malloc works, and which instructions libraries use: set by a candidate, they would slow the
reference in a new process as well."""

_OF_THE_START = (*_RUNS_CODE, *_SLOWS)
"""Variables of these kinds are taken as this process got them."""

_OF_CONFTESTS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
"""These say how many threads libraries start, where, and how they wait: a conftest may choose that, a candidate not."""


def environment_of_start(of_session: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This process's, but what would slow down or change a new one is as it was when this one was started.

    Or, where that chooses threads, as in the variables `of_session`.
    """
    start = dict(one.partition("=")[::2] for one in _initial_environment())
    kept = {name: one for name, one in os.environ.items() if not name.startswith((*_OF_CONFTESTS, *_OF_THE_START))}
    kept |= {name: one for name, one in of_session.items() if name.startswith(_OF_CONFTESTS)}
    kept = {name: one for name, one in kept.items() if not name.startswith(_OF_THE_START)}
    kept |= {name: one for name, one in start.items() if name.startswith(_OF_THE_START)}
    package = str(Path(pytest_kgate.__file__).parents[1])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), package)))}


def _initial_environment() -> Sequence[str]:
    """As the system gave it to this process, whatever was set since."""
    with contextlib.suppress(OSError):
        text = Path("/proc/self/environ").read_bytes().decode(sys.getfilesystemencoding(), "surrogateescape")
        return [one for one in text.split("\0") if "=" in one]
    return [f"{name}={value}" for name, value in os.environ.items()]


@contextlib.contextmanager
def parent_pipe() -> Iterator[int]:
    """The read end of a pipe, to be inherited by children; it reads end-of-file once this process has ended.

    Nothing is ever written to it. The write end closes with this process, however that ends, SIGKILL included.
    """
    ends = os.pipe()
    try:
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


def end_with_parent(read_end: int) -> None:
    """Wait for the end of the parent that holds the pipe, then kill this process's group if this process leads it.

    Runs in a daemon thread of the child. It blocks in one read, so that it disturbs no timing.
    """
    os.read(read_end, 1)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def stop_with_parent() -> None:
    """Have this process get SIGTERM once its parent has ended, where whoever started it has asked for that."""
    file = os.environ.pop(ENDS_WITH, "")
    if file.isdigit():

        def stop() -> None:
            os.read(int(file), 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()


def die_with_parent() -> None:
    """Have the system kill this process as soon as its parent has ended, whatever this one does then. Linux only."""
    ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_END, int(signal.SIGKILL), 0, 0, 0)


class Leader(Protocol):
    """A child process that leads a group, as those that are started with `start_new_session` do."""

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""


def signal_all(child: Leader, number: signal.Signals) -> None:
    """Send a signal to a child that leads a group, and to all processes of that group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def run_limited(
    command: Sequence[str],
    *,
    folder: str | os.PathLike[str],
    environment: Mapping[str, str],
    pipe: int,
    output: IO[str],
    ends: Sequence[tuple[float, signal.Signals]],
    told: signal.Signals,
    grace_seconds: float,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> tuple[int, bool]:
    """Run a command in a session of its own; returns its exit status, and whether it was ended by a timer.

    `ends` are the timers: after so many seconds, that signal to its group. `pipe` is inherited. The command does not
    outlive the wait: whatever ends that, Ctrl-C too, sends it `told`, and SIGKILL after `grace_seconds`. What it has
    started (compilers, servers) ends with it. `started` is told of it as soon as it runs.
    """
    too_long = threading.Event()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=(pipe,),
        start_new_session=True,
    ) as child:

        def end(number: signal.Signals) -> None:
            too_long.set()
            signal_all(child, number)

        # Not wait(limit), which wakes up twenty times a second beside whatever is timed.
        timers = [threading.Timer(seconds, end, (number,)) for seconds, number in ends]
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            if started is not None:
                started(child)
            status = _wait(child)
        finally:
            for timer in timers:
                timer.cancel()
            if child.poll() is None:
                signal_all(child, told)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(grace_seconds)
            signal_all(child, signal.SIGKILL)
    return status, too_long.is_set()


def _wait(child: subprocess.Popen[bytes]) -> int:
    """The exit status. Wakes up once a second, so that Ctrl-C is heard that came just before the wait."""
    with contextlib.suppress(OSError, AttributeError):  # of systems that have no file for a process
        ended = os.pidfd_open(child.pid)
        try:
            watch = select.poll()
            watch.register(ended, select.POLLIN)
            while not watch.poll(1000):
                pass
        finally:
            os.close(ended)
    return child.wait()


def last_lines(output: IO[str]) -> list[str]:
    """The last lines, without empty ones, of the file that a child's output went to."""
    return [line.rstrip() for line in end_of(output).splitlines() if line.strip()][-_LINES:]


def signal_name(number: int) -> str:
    """The name of a signal, `SIGKILL` or `SIGRTMIN+6`: Python has none for real-time signals and two others."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    beyond = number - signal.SIGRTMIN
    return f"SIGRTMIN+{beyond}" if beyond > 0 else str(number)


def end_of(output: IO[str]) -> str:
    """The end of the file that a child's output went to; the child may have made it larger than the memory."""
    size = os.fstat(output.fileno()).st_size
    try:
        found = os.pread(output.fileno(), _READ_BYTES, max(0, size - _READ_BYTES))
    except OSError:  # the child shares the descriptor's flags, and may have set one that forbids it (O_DIRECT)
        return ""
    return found.decode("utf-8", errors="replace")
