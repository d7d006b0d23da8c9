"""The values of options: from text, or from what a marker gave, to the option's type.

Each function raises ValueError for a value that makes no sense; the message is made by `Option.value`.
"""

from __future__ import annotations

import math
import os
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import real
from pytest_kgate.errors import whole

if TYPE_CHECKING:
    from pytest_kgate.search.space.assignments import Knobs
    from pytest_kgate.search.space.assignments import Sweep


def device(value: object) -> str:
    """`auto`, `host`, `cuda` or `cuda:N`."""
    if not isinstance(value, str) or not re.fullmatch(r"auto|host|cuda(:\d+)?", value, re.ASCII):
        raise ValueError(value)
    return value


def seconds(value: object) -> float:
    """A positive, finite number of seconds."""
    number = _real(value)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(value)
    return number


def rate(value: object) -> float:
    """A number above 0 and below 1."""
    number = _real(value)
    if not 0 < number < 1:
        raise ValueError(value)
    return number


def processes(value: object) -> int:
    """1, or 3 and more: an interval over two processes is too wide to decide anything."""
    count = _whole(value)
    if count < 1 or count == 2:
        raise ValueError(value)
    return count


def rounds(value: object) -> int:
    """2 or more: one round tells nothing of its own error."""
    count = _whole(value)
    if not 2 <= count <= _MOST_ROUNDS:
        raise ValueError(value)
    return count


def _real(value: object) -> float:
    return float(value) if isinstance(value, str) else real(value)


def _whole(value: object) -> int:
    found = int(value) if isinstance(value, str) else whole(value)
    if found is None:
        raise ValueError(value)
    return found


_MOST_ROUNDS = 960
_SECRET_DIGITS = 32


def seed(value: object) -> int:
    """A number of at most 63 bits, or one of 128 bits as records write it: 32 hexadecimal digits."""
    if isinstance(value, str) and len(value) == _SECRET_DIGITS and set(value) <= set(string.hexdigits):
        return int(value, 16)
    number = _whole(value)
    if not 0 <= number < 2**63:
        raise ValueError(value)
    return number


def path(value: object) -> Path:
    """The path of a file; `~` is the home directory."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(value)
    return Path(value).expanduser()


def grid(value: object) -> str | Path:
    """A grid's name, or the path of a file, which has a suffix or a folder; `~` is the home directory."""
    found = path(value)
    return found if found.suffix or len(found.parts) > 1 else found.name


def switch(value: object) -> bool:
    """A word for on or off, in any case: 1, true, yes, on; 0, false, no, off."""
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    word = str(value).lower()
    if word not in words:
        raise ValueError(value)
    return words[word]


def one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    """A parser that takes one of these words, and no other."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(value)
        return value

    return parse


def name(value: object) -> str:
    """Any text but an empty one."""
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


def revision(value: object) -> str:
    """A revision, as git takes it; never one of git's options."""
    if not isinstance(value, str) or not value.strip() or value.startswith("-") or "\0" in value:
        raise ValueError(value)
    return value.strip()


def names(value: object) -> tuple[str, ...]:
    """Names separated by commas; a repeated one counts once."""
    if not isinstance(value, str):
        raise ValueError(value)
    found = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if not all(re.fullmatch(r"[\w./-]+", name) for name in found):
        raise ValueError(value)
    return found


def arch(value: object) -> str:
    """A GPU architecture as nvcc names it: `sm_90a`."""
    if not isinstance(value, str) or not re.fullmatch(r"sm_\d{2,3}[af]?", value, re.ASCII):
        raise ValueError(value)
    return value


def knobs(value: object) -> Knobs:
    """Knobs with a value each, as `parse_knobs` reads them."""
    from pytest_kgate.search.space.assignments import parse_knobs  # here, since every session of pytest would pay

    return parse_knobs(value)


def sweep(value: object) -> Sweep:
    """Knobs with several values each, as `parse_sweep` reads them."""
    from pytest_kgate.search.space.assignments import parse_sweep  # here, as above

    return parse_sweep(value)
