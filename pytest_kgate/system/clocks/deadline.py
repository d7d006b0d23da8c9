"""Candidates that never return: interrupted where Python still runs, reported where it does not."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest_kgate
from pytest_kgate.errors import CandidateError

_GRACE_SECONDS = 10.0
"""Between the interrupt and the verdict that the candidate is stuck in native code, where no interrupt reaches it."""

_EARLY_SECONDS = 0.01
"""A signal that comes so much before its time is not ours."""

_AT_ONCE_SECONDS = 1e-6
"""What a timer is set to whose time has come: 0 would switch it off."""


class Watchdog(threading.Timer):
    """The thread that calls `when_stuck`; of its own class, so that nobody takes it for one of a candidate's."""

    def __init__(self, seconds: float, function: Callable[[str], None], arguments: tuple[str]) -> None:
        super().__init__(seconds, function, arguments)
        self.name = "kgate-watchdog"
        self.daemon = True


@contextlib.contextmanager
def deadline(seconds: float, doing: str, when_stuck: Callable[[str], None]) -> Iterator[None]:
    """Raise `CandidateError` in the block after `seconds`; call `when_stuck` from another thread if that fails.

    Needs the main thread and POSIX signals; elsewhere only the second half works. A process has one timer for them: if
    another plugin, such as pytest-timeout, has set it to an earlier time, it is left as it is, and ends the block.
    """
    complaint = f"The candidate hung: {doing} did not end within {seconds:g} s"
    stuck = Watchdog(seconds + _GRACE_SECONDS, when_stuck, (complaint,))
    interruptible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    start = time.monotonic()
    others_seconds = signal.getitimer(signal.ITIMER_REAL)[0] if interruptible else 0.0
    if 0 < others_seconds <= seconds:
        interruptible = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        passed = time.monotonic() - start
        if passed < seconds - _EARLY_SECONDS:
            raise CandidateError(
                f"SIGALRM came after {passed:.2g} s, while {doing} ran; the limit of {seconds:g} s had not sent "
                f"it{_place(frame)}.",
                "Something in this process set the timer of signals (signal.alarm, signal.setitimer): leave it alone.",
            )
        raise CandidateError(
            f"{complaint}{_place(frame)}.",
            "Look for an endless loop or a lock; raise --kgate-timeout if it is just slow.",
        )

    if interruptible:
        previous_handler = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    stuck.start()
    try:
        yield
    finally:
        stuck.cancel()
        if interruptible:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous_handler)
            if others_seconds:
                left = others_seconds - (time.monotonic() - start)
                signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE_SECONDS))


def _place(frame: FrameType | None) -> str:
    """Where the interrupt found the user's code, innermost first; empty if all that ran was the plugin's."""
    ours = str(Path(pytest_kgate.__file__).parent)
    while frame is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] in ("pluggy", "_pytest"):
        return ""
    return f"; it was in {frame.f_code.co_name}, {Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
