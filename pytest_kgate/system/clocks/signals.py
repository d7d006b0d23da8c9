"""The signal whose handler has raised an error, as that of pytest-timeout does in whatever code is under way."""

from __future__ import annotations

import signal
import traceback

from pytest_kgate.errors import traceback_of


def handled_signal(error: BaseException) -> str | None:
    """The name of the signal whose handler, one in Python, the error came out of; None for any other error."""
    numbers = {getattr(signal.getsignal(one), "__code__", None): one for one in signal.valid_signals()}
    codes = (frame.f_code for frame, _ in traceback.walk_tb(traceback_of(error)))
    found = next((numbers[code] for code in codes if code in numbers), None)
    return None if found is None else signal.Signals(found).name
