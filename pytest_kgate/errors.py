"""The few errors that users of the plugin see; each says what happened, and what to do next."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from types import TracebackType


class KgateError(Exception):
    """An error that the user can act on: `what` says what happened, `todo` what to do about it."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}\n{todo}" if todo else what)
        self.what = what
        """One sentence: what happened."""
        self.todo = todo
        """One sentence: what to do about it."""


class UsageError(KgateError):
    """An argument, option or marker that makes no sense."""


class ToolchainMissing(KgateError):
    """No compiler was found that can build this source."""


class LibraryMissing(KgateError):
    """A library that the kernel opens at run time is not installed."""


class BuildError(KgateError):
    """The compiler rejected the source; `what` holds its whole output and the command that reproduces it."""


class RevisionError(KgateError):
    """A file can't be had as it was at a revision of its repository."""


class DeviceMissing(KgateError):
    """The device that the candidate needs is not there."""


class CandidateError(KgateError):
    """The candidate raised, hung, faulted, or returned something that is not its answer."""


class ProblemRaised(CandidateError):
    """A function of the problem raised where a candidate was to be judged, which is not at fault then.

    Where one of several references or of several ways is tried, it is caught as what a candidate raises is.
    """


class OtherKind(CandidateError):
    """The candidate's answer is of other outputs, shapes, dtypes or devices than the problem asks for."""


class ProblemError(KgateError):
    """A part of the problem is at fault, not the candidate: its reference is wrong, or changes its inputs."""


class TimingError(KgateError):
    """The device could not be timed in a way that can be trusted."""


_OF_PROBLEM = "_kgate_of_problem"

_ATTRIBUTES, _TRACEBACK = vars(BaseException)["__dict__"], vars(BaseException)["__traceback__"]
"""What reads them of any exception, past what its class has of these names."""


def by_problem(error: BaseException) -> None:
    """Take note that a function of the problem raised this outcome of pytest's: a problem may skip its test."""
    _ATTRIBUTES.__get__(error)[_OF_PROBLEM] = True


def may_pass(error: BaseException) -> bool:
    """Whether an outcome of pytest's is the problem's. One that a candidate's code raises would be no judgement."""
    return _OF_PROBLEM in _ATTRIBUTES.__get__(error)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Where it was raised; what Python keeps, for a class of a user's may say anything in its place, or raise."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found


def is_a(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """As `except` asks: `isinstance` also asks the object, whose `__class__` may be code of a user's that raises."""
    return issubclass(type(error), kinds)


def hint(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'wmma'?`, with the blank before it, or nothing."""
    import difflib  # here, since every session of pytest would pay

    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


_MOST_SHOWN = 60
"""Letters of a value in a message, beyond which its middle is left out."""


def shown(value: object, most: int = _MOST_SHOWN) -> str:
    """What a user has written, for a message: in one line, its middle left out where it is long.

    Python refuses to write integers of more than 4,300 digits, and a message must not fail for that.
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a value of type {type(value).__name__}"
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def real(value: object) -> float:
    """The number that a user has written; NaN where it is none, or beyond all floats.

    Each comparison with NaN is false, so that one question whether it is within its bounds refuses all of these.
    NumPy's scalars and fractions are numbers, and booleans are none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def whole(value: object) -> int | None:
    """The whole number that a user has written; None where it is none. NumPy's scalars are some, booleans are not."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None


def changed_input(position: int) -> CandidateError:
    """The error for a candidate that has written to an input that its problem does not let it change."""
    return CandidateError(
        f"The candidate changed its input {position}.",
        f"Leave the inputs as they are; copy what you scale. {in_place_says_so(position)}",
    )


def wrote_beyond(what: str) -> CandidateError:
    """The error for a candidate that has written outside of what is its own; `what` is a sentence on where."""
    return CandidateError(
        what,
        "Look for an index that no bound checks (the last tile, a length that is no multiple of the tile), and for "
        "elements that are taken for wider ones, as float16 for float32.",
    )


def in_place_says_so(position: int) -> str:
    """The advice for a candidate that works in place, as a kernel of its problem may be meant to."""
    return f"A problem whose calls change inputs says so: `Problem(..., mutates=({position},))`."
