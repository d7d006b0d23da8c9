"""What CI is told at the end of a session: the summary of a GitHub Actions step, the properties of JUnit's suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _pytest.junitxml import xml_key  # the fixture that has it adds nothing in the process that writes xdist's report

from pytest_kgate.profile.under_tool.variables import watched
from pytest_kgate.report.ci.junit.write import suite_properties
from pytest_kgate.report.ci.markdown import step_summary
from pytest_kgate.report.ci.step_summary import append

if TYPE_CHECKING:
    from pytest_kgate.session.session import Session


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
    if session.is_worker or session.child is not None or watched():
        return None
    return append(lambda room: step_summary(session.records, status, room=room), "these gates")
