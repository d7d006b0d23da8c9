"""A session of pytest as a fork of this process, which has PyTorch and the plugin already.

This process must never touch the GPU: CUDA can't be used in a fork of a process that has.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import IO
from typing import NoReturn

import pytest

_LOOK_SECONDS = 0.1
"""Between two looks whether the child has ended, or a file was saved."""

_SET_DUMPABLE = 4
"""Option of prctl, from Linux's prctl.h."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Fork:
    """A child of this process that runs pytest, in a session of its own, so that Ctrl-C does not reach it."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: IO[str],
        plugins: Sequence[object],
        look: Callable[[], None],
    ) -> None:
        """Start it. `look` is called now and then while somebody waits for its end, and may raise to stop waiting."""
        self._look = look
        self._status: int | None = None
        leads, led = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # so that the child has our handlers at no time
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads of libraries
                self.pid = os.fork()
            if not self.pid:
                _work(arguments, environment, output, plugins, led, before)
            os.close(led)
            os.read(leads, 1)  # it leads its group, which can be signalled from now on
            os.close(leads)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait(self, timeout: float | None = None) -> int:
        """Its status, as `subprocess` has it. Raises `subprocess.TimeoutExpired`, and what `look` raises.

        Without a timeout there are no looks: whoever waits so has ended it.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self._status is None:
            ended, status = os.waitpid(self.pid, 0 if end is None else os.WNOHANG)
            if ended:
                self._status = os.waitstatus_to_exitcode(status)
            elif end is not None:
                self._look()
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired("pytest", timeout or 0.0)
                time.sleep(_LOOK_SECONDS)
        return self._status


def _work(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: IO[str],
    plugins: Sequence[object],
    led: int,
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Be the session; the process ends with pytest's status."""
    status = 1
    try:
        os.setsid()
        os.close(led)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _be_a_new_process(environment, output)
        status = int(pytest.main(list(arguments), list(plugins)))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _be_a_new_process(environment: Mapping[str, str], output: IO[str]) -> None:
    """What a new Python would have: files, environment, paths, memory that its own parts may look at in /proc."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, number in ((0, nothing), (1, output.fileno()), (2, output.fileno())):
        os.dup2(number, wanted)
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # the parent guards itself
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(open(number, mode, closefd=False), line_buffering=number > 0)  # noqa: SIM115
        for number, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(environment)
    # A file that is saved twice within a second, at one size, would be taken for what was compiled of the first.
    os.environ["PYTHONDONTWRITEBYTECODE"], sys.dont_write_bytecode = "1", True
    importlib.invalidate_caches()
    tempfile.tempdir = None
    sys.path.insert(0, os.getcwd())
    sys.argv = ["pytest"]
