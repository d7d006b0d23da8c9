"""How a collection ends that has found misuse, in a session of its own and in a worker of xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kgate.errors import KgateError


def end_collection(session: pytest.Session, items: list[pytest.Item], error: KgateError) -> None:
    """End the session before anything runs, by what is wrong and what to do.

    In a worker, which has told its tests by then, an exception would be an internal error of xdist's controller. There
    no test is left, and the controller ends by what the worker says.
    """
    message = f"{error.what}\n{error.todo}"
    if not hasattr(session.config, "workerinput"):
        raise pytest.UsageError(message) from None
    items.clear()
    session.shouldfail = message
