"""Numbers as a table of Nsight Compute has them: with thousands separators, in the language of the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_SPACES = str.maketrans("", "", " \u00a0\u202f'\u2019")
"""Thousands separators that no language takes for a decimal mark."""

_POINT_DECIMAL = re.compile(r"-?(\d{1,3}(,\d{3})+\.\d+|\d+\.(\d{1,2}|\d{4,})|\d{1,3}(,\d{3}){2,})")
_COMMA_DECIMAL = re.compile(r"-?(\d{1,3}(\.\d{3})+,\d+|\d+,(\d{1,2}|\d{4,})|\d{1,3}(\.\d{3}){2,})")

_TOTAL = re.compile(r"(?<=\d)\s*[({\[;].*", re.DOTALL)
"""What stands behind the total of a metric that has a value for each instance."""


def decimal_mark(cells: Iterable[str]) -> str:
    """`.`, or `,` where a report has numbers that can only be read so: `1.234,5` or `12,25`."""
    comma = False
    for cell in cells:
        text = cell.translate(_SPACES)
        if _POINT_DECIMAL.fullmatch(text):
            return "."
        comma = comma or bool(_COMMA_DECIMAL.fullmatch(text))
    return "," if comma else "."


def number(cell: str, mark: str = ".") -> float | None:
    """The number in a cell such as `1,234.50`, the total of `36 (BAR: 4; FFMA: 32)`; None of `n/a` and infinities."""
    text = _TOTAL.sub("", cell).translate(_SPACES)
    text = text.replace("." if mark == "," else ",", "").replace(mark, ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def instance(cell: str, name: str, mark: str = ".") -> float | None:
    """The part of one instance, 0 where it is not among them; None of a cell that has no parts."""
    if not _TOTAL.search(cell):
        return None
    found = re.search(rf"(?<![\w.]){re.escape(name)}\s*[:=]\s*([\d.,]*\d)", cell)
    return number(found[1], mark) if found else 0.0
