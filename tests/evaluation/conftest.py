"""One process from which the folder's tests have sessions forked, and `kgate evaluate` told to use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from warm_sessions import WarmSessions

from pytest_kgate.evaluation.verb import command
from pytest_kgate.evaluation.verb import session


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmSessions]:
    sessions = WarmSessions()
    yield sessions
    sessions.close()


@pytest.fixture
def warm_sessions(warm: WarmSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kgate evaluate`, run in this process, has its sessions forked."""
    monkeypatch.setattr(command, "judged", lambda asked: session.judged(asked, warm.start))
