"""A test's own code, as it was collected: whose frames they are, and whether one has ended by itself.

A failure that a test catches on purpose, as in `pytest.raises`, leaves its function with a return. One that something
around the test has swallowed has ended the function first, whatever became of the exception and its traceback.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from types import CodeType
from types import FrameType
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    import pytest

_GOES_ON = frozenset({"RETURN_VALUE", "RETURN_CONST", "YIELD_VALUE", "RESUME"})
"""Instructions at which a function stands that has returned, or yields as a fixture does: of an exception that ended
it, a frame shows the call or the `raise` that it came from."""

_DEEPEST = 20
"""Of decorators around one function."""


def codes_of(item: pytest.Item) -> frozenset[CodeType]:
    """The code of the test's function, of what it is wrapped in, and of its fixtures."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    fixtures = [definition.func for several in definitions.values() for definition in several]
    return frozenset(_codes([getattr(item, "function", None), *fixtures]))


def own_frame(codes: frozenset[CodeType]) -> FrameType | None:
    """The outermost frame of this thread that runs one of these; None where none does."""
    frame: FrameType | None = sys._getframe(1)
    found = None
    while frame is not None:
        if frame.f_code in codes:
            found = frame
        frame = frame.f_back
    return found


def goes_on(frame: FrameType) -> bool:
    """Whether the function has returned or yielded, rather than been ended by an exception; ask once it has ended."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in _GOES_ON


def came_through(traceback: TracebackType | None, codes: frozenset[CodeType]) -> bool:
    """Whether an exception with this traceback has left one of these functions."""
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _codes(functions: Iterable[Any]) -> Iterator[CodeType]:
    for function in functions:
        for _ in range(_DEEPEST):
            while isinstance(function, functools.partial):
                function = function.func
            code = getattr(function, "__code__", None)
            if not isinstance(code, CodeType):
                code = getattr(vars(type(function)).get("__call__"), "__code__", None)
            if isinstance(code, CodeType):
                yield code
            function = getattr(function, "__wrapped__", None)
            if function is None:
                break
