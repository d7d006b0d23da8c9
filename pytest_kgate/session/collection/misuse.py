"""Misuse that a collection finds in markers, and how it ends then, in a session of its own and in a worker of xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.session.collection import markers
from pytest_kgate.session.collection.search_space import check_spaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_kgate.errors import KgateError
    from pytest_kgate.evaluation.options.options import Options


def demand_sound_markers(
    session: pytest.Session,
    items: list[pytest.Item],
    marked: Sequence[pytest.Item],
    judging: Sequence[pytest.Item],
    options: Options,
) -> None:
    """End the session where a marker has wrong arguments, allows nothing here, or is misspelt.

    `marked` are those of `items`, which are left, that have one of the markers; `judging` all that were collected with
    the fixture `kbench`.
    """
    config = session.config
    try:
        markers.validate(marked)
        check_spaces(marked, options)
        left = {item.nodeid for item in items}
        markers.demand_known(judging, config.getini("markers"), config.option.markexpr, left)
    except UsageError as error:
        end_collection(session, items, error)


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
