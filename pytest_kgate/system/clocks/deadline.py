"""Candidates that never return: interrupted where Python still runs, reported where it does not."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest_kgate
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemRaised

_GRACE_SECONDS = 10.0
"""Between the interrupt and the verdict that the candidate is stuck in native code, where no interrupt reaches it."""

_EARLY_SECONDS = 0.01
"""A signal that comes so much before its time is not ours."""

_TODO = "Look for an endless loop or a lock; raise --kgate-timeout if it is just slow."

_AT_ONCE_SECONDS = 1e-6
"""What a timer is set to whose time has come: 0 would switch it off."""

_CHANCES = 10_000
"""Steps of a loop, at each of which Python may raise what it was asked to; it does so at one of the first."""


_theirs: dict[int, str] = {}
"""Whose function a thread is in, where that is a problem's; by the thread."""


class Watchdog(threading.Timer):
    """The thread that calls `when_stuck`; of its own class, so that nobody takes it for one of a candidate's."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        super().__init__(seconds, function)
        self.name = "kgate-watchdog"
        self.daemon = True


@contextlib.contextmanager
def called_by_deadlines(whose: str) -> Iterator[None]:
    """A block that calls a function of the problem: a deadline that it does not keep names that one, no candidate."""
    thread = threading.get_ident()
    before = _theirs.get(thread)
    _theirs[thread] = whose
    try:
        yield
    finally:
        if before is None:
            _theirs.pop(thread, None)
        else:
            _theirs[thread] = before


@contextlib.contextmanager
def deadline(seconds: float, doing: str, when_stuck: Callable[[str], None]) -> Iterator[None]:
    """Raise `CandidateError` in the block after `seconds`; call `when_stuck` from another thread if that fails.

    In the main thread a POSIX signal interrupts the block. A process has one timer for them: if another plugin, such as
    pytest-timeout, has set it to an earlier time, it is left as it is, and ends the block. In another thread the error
    is raised as soon as that thread runs Python code, which a call that waits, such as `time.sleep`, puts off.
    """
    thread = threading.get_ident()

    def complaint() -> str:
        whose = _theirs.get(thread)
        return (
            f"{f'{whose} took too long' if whose else 'The candidate hung'}: {doing} did not end within {seconds:g} s"
        )

    stuck = Watchdog(seconds + _GRACE_SECONDS, lambda: when_stuck(complaint()))
    in_main = threading.current_thread() is threading.main_thread()
    interrupted = _by_signal if in_main and hasattr(signal, "setitimer") else _by_watchdog
    stuck.start()
    try:
        with interrupted(seconds, doing, complaint):
            yield
    finally:
        stuck.cancel()


@contextlib.contextmanager
def _by_signal(seconds: float, doing: str, complaint: Callable[[], str]) -> Iterator[None]:
    start = time.monotonic()
    others_seconds = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < others_seconds <= seconds:
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        passed = time.monotonic() - start
        if passed < seconds - _EARLY_SECONDS:
            raise CandidateError(
                f"SIGALRM came after {passed:.2g} s, while {doing} ran; the limit of {seconds:g} s had not sent "
                f"it{_place(frame)}.",
                "Something in this process set the timer of signals (signal.alarm, signal.setitimer): leave it alone.",
            )
        error = ProblemRaised if threading.get_ident() in _theirs else CandidateError
        raise error(f"{complaint()}{_place(frame)}.", _TODO)

    previous_handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)
        if others_seconds:
            left = others_seconds - (time.monotonic() - start)
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE_SECONDS))


@contextlib.contextmanager
def _by_watchdog(seconds: float, _doing: str, complaint: Callable[[], str]) -> Iterator[None]:
    """Python raises an exception in another thread when it is asked to, by the exception's class.

    What was asked for is never taken back, but waited for: up to Python 3.12 an interpreter in which a request came to
    nothing looks for one for ever, and hangs as soon as a tracer or profiler is set.
    """
    thread = threading.get_ident()
    lock = threading.Lock()
    over, asked, came, said = False, False, False, ""

    class Hung(CandidateError):
        def __init__(self) -> None:
            nonlocal came
            came = True
            super().__init__(said, _TODO)

    class ProblemHung(Hung, ProblemRaised):
        pass

    def interrupt() -> None:
        nonlocal asked, said
        said = f"{complaint()}{_place(sys._current_frames().get(thread))}."
        error = ProblemHung if thread in _theirs else Hung
        with lock:
            if not over:
                asked = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))

    timer = Watchdog(seconds, interrupt)
    timer.start()
    try:
        yield
    finally:
        try:
            with lock:
                over = True
            timer.cancel()
            if asked and not came:
                for _ in range(_CHANCES):
                    pass
        except Hung:  # of a block that has ended just in time
            pass


def _place(frame: FrameType | None) -> str:
    """Where the interrupt found the user's code; empty if what ran was the plugin's, whoever had called it."""
    ours = str(Path(pytest_kgate.__file__).parent)
    if frame is None or frame.f_code.co_filename.startswith(ours):
        return ""
    return f"; it was in {frame.f_code.co_name}, {Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
