"""What a problem's `inputs` returned, as the arguments of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees.instead import indefinite

_TODO = "Let it return what the candidate is called with, as a tuple."


def as_arguments(drawn: Any) -> tuple[Any, ...]:
    """What a tuple, named or not, or a list holds; anything else is a lone argument.

    Raises `UsageError` for what can't be one.
    """
    if drawn is None:
        raise UsageError("The problem's inputs returned nothing.", _TODO)
    if isinstance(drawn, Iterator):
        raise UsageError(
            f"The problem's inputs returned {indefinite(type(drawn).__name__)}, which can be read only once.", _TODO
        )
    return tuple(drawn) if isinstance(drawn, (tuple, list)) else (drawn,)
