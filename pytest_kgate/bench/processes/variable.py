"""The environment variable of a session that was started to measure one call for another one."""

from __future__ import annotations

import os

VARIABLE = "KGATE_PROCESS"
"""Private: names the file of the task. Only a session that was started for one has it."""

_OF_THE_SESSION: dict[str, str] = {}
"""This process's variables as its session of pytest was configured; empty where there was none."""


def file_of_task() -> str | None:
    """The file with this session's task; None for a session that a user started.

    Takes the variable out of the environment, so that sessions which a test starts don't inherit the task.
    """
    return os.environ.pop(VARIABLE, None)


def keep_environment() -> None:
    """Remember the variables as they are: the session of pytest is configured, and no test module was imported."""
    _OF_THE_SESSION.clear()
    _OF_THE_SESSION.update(os.environ)


def environment_of_session() -> dict[str, str]:
    """This process's variables, as its session began: what a candidate sets chooses no option of a new session."""
    return dict(_OF_THE_SESSION or os.environ)
