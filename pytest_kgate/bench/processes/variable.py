"""The environment variable of a session that was started to measure one call for another one."""

from __future__ import annotations

import os

VARIABLE = "KGATE_PROCESS"
"""Private: names the file of the task. Only a session that was started for one has it."""


def file_of_task() -> str | None:
    """The file with this session's task; None for a session that a user started.

    Takes the variable out of the environment, so that sessions which a test starts don't inherit the task.
    """
    return os.environ.pop(VARIABLE, None)
