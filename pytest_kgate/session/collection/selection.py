"""`--kgate-impl`: which of the collected tests stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.session.collection.misuse import end_collection

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.evaluation.options.options import Options

_ANYBODYS = "IMPL"
"""The environment variable that another program may read, too."""


def keep_chosen(session: pytest.Session, items: list[pytest.Item], options: Options) -> None:
    """Take the tests of other implementations out of `items`; end the session for a name that means nothing."""
    try:
        kept, dropped = select(items, options)
    except UsageError as error:
        end_collection(session, items, error)
        return
    if dropped:
        session.config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def select(items: Sequence[pytest.Item], options: Options) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests whose parameter `impl` is among those chosen, or that have none, and the others.

    Raises `UsageError` for a name that is neither any test's parameter nor a shipped implementation, unless it comes
    from IMPL and no test has such a parameter: that may be another program's variable.
    """
    from pytest_kgate.build.registry import implementations

    chosen, source = options.impl, options.sources["impl"]
    offered = {name for item in items if (name := _implementation(item)) is not None}
    known = implementations()
    for name in chosen:
        if (offered or source != _ANYBODYS) and name not in offered and name not in known:
            label = BY_NAME["impl"].label(source)
            raise UsageError(
                f"{label} names {name!r}, which is no implementation.{hint(name, offered | set(known))}",
                f"Choose among {', '.join(known)}, or what a test's parameter `impl` takes.",
            )
    kept = [item for item in items if _implementation(item) in (None, *chosen)]
    return kept, [item for item in items if _implementation(item) not in (None, *chosen)]


def _implementation(item: pytest.Item) -> str | None:
    """The value of a test's parameter `impl`, if it has one."""
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("impl") if callspec else None
    return value if isinstance(value, str) else None
