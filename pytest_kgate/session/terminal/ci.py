"""What CI is told at the end of a session: the summary of a GitHub Actions step, the properties of JUnit's suite."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from _pytest.junitxml import xml_key  # the fixture that has it adds nothing in the process that writes xdist's report

from pytest_kgate.profile.under_tool.variables import watched
from pytest_kgate.report.ci.junit import suite_properties
from pytest_kgate.report.ci.markdown import SUMMARY_BYTES
from pytest_kgate.report.ci.markdown import step_summary

if TYPE_CHECKING:
    from pytest_kgate.session.session import Session

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Environment variable of GitHub Actions: the file that holds the summary of a step."""


def add_to_junit(session: Session) -> None:
    """Give `--junitxml` all gates' figures; those of a test case are no part of its xunit2 form, and get lost."""
    xml = session.config.stash.get(xml_key, None)
    if xml is not None:
        for name, value in suite_properties(session.records):
            xml.add_global_property(name, value)


def write_step_summary(session: Session, status: int) -> str | None:
    """Append the session to the step's summary, where there is one; a sentence where that can't be done.

    Of sessions that belong to another one (workers, fresh processes, those under a tool) only that one tells.
    """
    path = os.environ.get(VARIABLE)
    if not path or session.is_worker or session.child is not None or watched():
        return None
    try:
        # GitHub shows nothing at all of a step's summary that is too long, whoever else wrote to it.
        with open(path, "ab") as file:
            room = SUMMARY_BYTES - file.tell()
            content = f"{step_summary(session.records, status, room=room - 1)}\n".encode(errors="replace")
            if len(content) > room:
                return f"kgate: the step's summary in {path} is full, and does not have these gates."
            file.write(content)
    except OSError as error:
        return f"kgate: the step's summary was not written to {path}: {error.strerror}."
    return None
