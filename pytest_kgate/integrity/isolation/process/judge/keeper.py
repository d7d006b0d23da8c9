"""The keeper of a candidate's process: its parent, which ends all that it has started, also where the judge was killed.

The judging process ends them itself as long as it lives (see `guard.py`). Where it is killed, nobody else could: what
has left the candidate's session has no parent any more. The keeper is forked before anything of the candidate is
loaded, and only waits.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
from pathlib import Path
from typing import NoReturn

from pytest_kgate.integrity.isolation.process.judge.guard import adopt_orphans
from pytest_kgate.integrity.isolation.process.judge.guard import end_children
from pytest_kgate.integrity.isolation.process.judge.guard import hide_memory
from pytest_kgate.integrity.isolation.process.own_folder import remove_folder
from pytest_kgate.system.child_process import die_with_parent


def fork_under_keeper(parent_pipe: int, channel: int, folder: Path) -> None:
    """Fork: this process stays as the keeper, and never returns; the child goes on, in a session of its own.

    `parent_pipe` reads end-of-file once the judging process has ended; `folder` is then removed with all in it. The
    child keeps `channel`. The keeper ends as the child does, with its status or by its signal.
    """
    keeper = os.getpid()
    adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child:
        os.close(channel)
        hide_memory()
        _keep(child, parent_pipe, woken, folder)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    for fd in (woken, wake, parent_pipe):
        os.close(fd)
    os.setsid()
    die_with_parent()
    if os.getppid() != keeper:
        os._exit(1)


def _keep(child: int, parent_pipe: int, woken: int, folder: Path) -> NoReturn:
    status = None
    while status is None:
        if parent_pipe in select.select([parent_pipe, woken], [], [])[0]:
            with contextlib.suppress(Exception):  # the folder goes all the same
                end_children()
            remove_folder(folder)
            os._exit(1)
        os.read(woken, 4096)
        status = _reaped(child)
    with contextlib.suppress(Exception):  # the judging process tries again, and says what it can't end
        end_children()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _reaped(child: int) -> int | None:
    """Reap what has ended, orphans among it; the child's status if it was the child."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == child:
                return found[1]
    return None
