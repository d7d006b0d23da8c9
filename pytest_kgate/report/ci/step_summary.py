"""The file that holds the summary of a step of GitHub Actions, to which the programs of a step append."""

from __future__ import annotations

import os
from collections.abc import Callable

from pytest_kgate.report.ci.markdown import SUMMARY_BYTES

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Environment variable of GitHub Actions: the file."""


def append(content: Callable[[int], str], what: str) -> str | None:
    """Append what `content` makes for so many bytes, where there is such a file; a sentence where that can't be done.

    `what` is missing then: `these gates`.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    try:
        # GitHub shows nothing at all of a step's summary that is too long, whoever else wrote to it.
        with open(path, "ab") as file:
            room = SUMMARY_BYTES - file.tell()
            added = f"{content(room - 1)}\n".encode(errors="replace")
            if len(added) > room:
                return f"kgate: the step's summary in {path} is full, and does not have {what}."
            file.write(added)
    except OSError as error:
        return f"kgate: the step's summary was not written to {path}: {error.strerror}."
    return None
