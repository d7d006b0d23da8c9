"""Candidates that never return: interrupted where Python still runs, reported where it does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest_kgate
from pytest_kgate.errors import CandidateError

_GRACE_SECONDS = 10.0
"""Between the interrupt and the verdict that the candidate is stuck in native code, where no interrupt reaches it."""


@contextlib.contextmanager
def deadline(seconds: float, doing: str, when_stuck: Callable[[str], None]) -> Iterator[None]:
    """Raise `CandidateError` in the block after `seconds`; call `when_stuck` from another thread if that fails.

    Needs the main thread and POSIX signals; elsewhere only the second half works.
    """
    complaint = f"The candidate hung: {doing} did not end within {seconds:g} s"
    stuck = threading.Timer(seconds + _GRACE_SECONDS, when_stuck, (complaint,))
    stuck.daemon = True
    interruptible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise CandidateError(
            f"{complaint}{_place(frame)}.",
            "Look for an endless loop or a lock; raise --kgate-timeout if it is just slow.",
        )

    if interruptible:
        previous_handler = signal.signal(signal.SIGALRM, interrupt)
        previous_delay, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    stuck.start()
    try:
        yield
    finally:
        stuck.cancel()
        if interruptible:
            # Another plugin's timer, such as a per-test timeout, goes on; it fires late by what was spent here.
            signal.setitimer(signal.ITIMER_REAL, previous_delay)
            signal.signal(signal.SIGALRM, previous_handler)


def _place(frame: FrameType | None) -> str:
    """Where the interrupt found the user's code, innermost first; empty if all that ran was the plugin's."""
    ours = str(Path(pytest_kgate.__file__).parent)
    while frame is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] in ("pluggy", "_pytest"):
        return ""
    return f"; it was in {frame.f_code.co_name}, {Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
