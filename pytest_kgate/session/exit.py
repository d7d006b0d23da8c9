"""How a session ends where a candidate or one of its kernels never does: its process can't exit in the usual way."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.evaluation.verb.witness import WITNESS

if TYPE_CHECKING:
    from pytest_kgate.session.session import Session

_NAMED = 10
"""So many of the tests that were not run are named."""


def end_now(session: Session, complaint: str) -> None:
    """End the process because a candidate is stuck in native code; called from the watchdog's thread."""
    session.close()
    witness = session.config.stash.get(WITNESS, None)
    if witness is not None:
        witness.stuck(complaint)
    where = f" The records so far are in {session.options.json}." if session.keeps_file else ""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    text = (
        f"\npytest-kgate: {complaint}, and it can't be interrupted, so the session ends here.{where}\n"
        f"{_not_run(session, test)}Deselect the test to run the others: {test}\n"
    )
    with contextlib.suppress(Exception):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        for line in (*session.messages, text):
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    os._exit(pytest.ExitCode.INTERNAL_ERROR)


def _not_run(session: Session, test: str) -> str:
    """Which tests come after this one; nothing in a worker, whose others run elsewhere."""
    items = getattr(session.config.pluginmanager.get_plugin("session"), "items", [])
    tests = [item.nodeid for item in items]
    if session.is_worker or test not in tests[:-1]:
        return ""
    left = tests[tests.index(test) + 1 :]
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return f"Not run: {', '.join(left[:_NAMED])}{more}.\n"


def exit_without_device(session: Session) -> None:
    """At the session's very end, where a device hangs: its kernel would keep the interpreter from exiting."""
    if session.is_worker:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(session.exit_status or 0)
