"""What an option's value may be: text, or what a marker gave, to its type; ValueError where it makes no sense."""

from __future__ import annotations

import math
import os
import re
import string
from collections.abc import Callable
from pathlib import Path


def device(value: object) -> str:
    """A kind of device, or one CUDA device."""
    if not isinstance(value, str) or not re.fullmatch(r"auto|host|cuda(:\d+)?", value, re.ASCII):
        raise ValueError(value)
    return value


def seconds(value: object) -> float:
    """More than none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    number = float(value)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(value)
    return number


def rate(value: object) -> float:
    """Between 0 and 1, neither of them."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    number = float(value)
    if not 0 < number < 1:
        raise ValueError(value)
    return number


def processes(value: object) -> int:
    """One, or enough for an interval."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(value)
    count = int(value)
    if count < 1 or count == 2:
        raise ValueError(value)
    return count


_SECRET_DIGITS = 32


def seed(value: object) -> int:
    """What fits into 63 bits, or a secret of 128 as records name it: 32 hexadecimal digits."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(value)
    if isinstance(value, str) and len(value) == _SECRET_DIGITS and set(value) <= set(string.hexdigits):
        return int(value, 16)
    number = int(value)
    if not 0 <= number < 2**63:
        raise ValueError(value)
    return number


def path(value: object) -> Path:
    """Of a file; `~` is the home directory."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(value)
    return Path(value).expanduser()


def switch(value: object) -> bool:
    """On or off, in the usual words."""
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
    """One of these words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(value)
        return value

    return parse


def names(value: object) -> tuple[str, ...]:
    """Separated by commas, each once."""
    if not isinstance(value, str):
        raise ValueError(value)
    found = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if not all(re.fullmatch(r"[\w./-]+", name) for name in found):
        raise ValueError(value)
    return found


def arch(value: object) -> str:
    """As nvcc names it."""
    if not isinstance(value, str) or not re.fullmatch(r"sm_\d{2,3}[af]?", value, re.ASCII):
        raise ValueError(value)
    return value
