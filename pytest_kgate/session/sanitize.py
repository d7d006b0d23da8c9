"""A test's sanitize marker: what its tools found, and what becomes of a test that they can't look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.sources import override
from pytest_kgate.session.outcome import Failure
from pytest_kgate.session.outcome import fail

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.sanitizer import SanitizerFacts
    from pytest_kgate.session.session import Session


def examined(item: pytest.Item, session: Session, device: Device, isolate: bool = False) -> SanitizerFacts | None:
    """What the tools of the test's sanitize marker found; skips where they can't look, or fails if they have to."""
    __tracebackhide__ = True
    from pytest_kgate.profile.sanitizer.marker import Settings
    from pytest_kgate.profile.sanitizer.marker import outcome_of

    if isolate and gates_of(item).sanitize is not None:
        raise UsageError(
            "A sanitize marker can't go with isolate: the candidate would run in a test of the tool's process.",
            "Use one of them.",
        )
    options = override(session.options, **gates_of(item).overrides)
    settings = Settings(
        timeout_seconds=options.timeout,
        arch=options.arch,
        debug=session.options.debug,
        require_gpu=options.require_gpu,
        require_sanitizer=options.require_sanitizer,
    )
    found = outcome_of(item, lambda one: gates_of(one).sanitize, settings, device)
    if found is not None and found["verdict"] == "SKIP":
        if found["required"]:
            raise Failure(f"{found['reason']}.\nWithout --kgate-require-sanitizer the test is skipped.") from None
        pytest.skip(found["reason"])
    return found


def sanitize_alone(item: pytest.Item, session: Session) -> None:
    """Run a test that has a sanitize marker, and no `kbench` to do it, under the marker's tools; fails or skips it."""
    __tracebackhide__ = True
    try:
        found = examined(item, session, session.device())
    except KgateError as error:
        fail(error)
    if found is not None and found["verdict"] != "PASS":
        raise Failure(f"compute-sanitizer: {found['reason']}") from None
