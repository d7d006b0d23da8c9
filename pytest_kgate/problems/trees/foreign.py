"""What is read of an object of a user's: a mock and a proxy have every attribute, and properties may raise."""

from __future__ import annotations

from typing import Any
from typing import TypeVar
from typing import overload

from pytest_kgate.errors import is_a
from pytest_kgate.system.clocks.signals import handled_signal

_Kind = TypeVar("_Kind")
_Default = TypeVar("_Default")

_MOST_CHARACTERS = 20_000
"""Of a text: some compilers say as much, and mean it."""

_CLASS_NAME = vars(type)["__name__"]
"""What reads a class's name, past what its metaclass has of this name."""

NO_TEXT = "(its text can't be had)"
"""In place of what an object says of itself, where saying it raises."""


@overload
def attribute(value: object, name: str, kind: type[_Kind]) -> _Kind | None: ...


@overload
def attribute(value: object, name: str, kind: type[_Kind], default: _Default) -> _Kind | _Default: ...


def attribute(value: object, name: str, kind: type[Any], default: Any = None) -> Any:
    """The attribute, if it is what only a built kernel, or an operator, would have there: an object of this kind.

    One of another kind counts as none, and so does one that raises when it is read.
    """
    try:
        found = getattr(value, name)
    except Exception:
        return default
    return found if issubclass(type(found), kind) else default  # a mock answers `isinstance` as it was told to


def name_of(candidate: object) -> str:
    """A callable's own name, or its class's."""
    found = attribute(candidate, "name", str) or attribute(candidate, "__name__", str)
    return found or type(candidate).__name__


def str_of(value: object) -> str:
    """`str(value)`; `NO_TEXT` where that raises, be it an outcome of pytest's, which would be that of the test."""
    try:
        return str.__str__(str(value))  # not of a class of the user's, whose functions may raise, too
    except Exception:
        return NO_TEXT
    except BaseException as error:
        if is_a(error, KeyboardInterrupt) or handled_signal(error) is not None:
            raise
        return NO_TEXT


def shortened(text: str) -> str:
    """What a user's object says of itself, its middle left out where no reader would get to its end."""
    half = _MOST_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return text if left_out <= 0 else f"{text[:half]} ... ({left_out:,} characters left out) ... {text[-half:]}"


def said_by(error: BaseException) -> str:
    """What an exception says, without the full stop that the sentence around it has, also of a sentence in brackets."""
    text = shortened(str_of(error).strip()).rstrip(".")
    return f"{text[:-1].rstrip('.')})" if text.endswith(".)") else text or "no message"


def class_and_text(error: BaseException) -> str:
    """The exception's class and text: `ValueError: no shape`."""
    return f"{_CLASS_NAME.__get__(type(error))}: {said_by(error)}"
