"""The warnings of a session: one paragraph a kind, with the range of its numbers over the tests.

Only what asks something of the reader is shown here. The records keep every warning, and `kgate show` prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.text.render import wrapped

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_NOTHING_TO_DO = (
    "raced a second time, for",  # the second race counts
    "too little to turn the verdict",  # has been reckoned with
    "accepted, as asked",  # by --kgate-foreign-load warn
    "both arms ran under it",  # so that the ratio holds
    "the first sample of a round is",  # its round's other samples outvote it
    "eager timer: latencies include",  # it was chosen
)
"""Parts of warnings that only explain a record."""

_UNITS = {"%": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "GHz": 1.0, "": 1.0}

_NUMBER = re.compile(r"(?<![\w.,\[-])(\d+(?:\.\d+)?)(?: (%|(?:[num]?s|GHz)\b))?(?![\w\]]|\.\d)")
"""One that stands by itself, with its unit: none within a name, an index or a version."""


def warning_lines(records: Sequence[Record], width: int) -> list[str]:
    """The warnings of a session as lines, the most frequent kind first."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for record in records:
        for warning in record.get("warnings", ()):
            if not any(part in warning for part in _NOTHING_TO_DO):
                kinds.setdefault(_NUMBER.sub("#", warning), {}).setdefault(record["test"], []).append(warning)
    tests = len({record["test"] for record in records})
    lines = []
    for found in sorted(kinds.values(), key=len, reverse=True):
        times = f" (in {len(found)} of {text.counted(tests, 'test')})" if tests > 1 else ""
        merged = text.visible(_merged([warning for several in found.values() for warning in several]))
        lines += wrapped(f"warning: {merged}{times}", width, "  ")
    return lines


def _merged(alike: Sequence[str]) -> str:
    """One warning for those that differ in their numbers only: `1.2 to 3.4 %`."""
    columns = zip(*(_NUMBER.findall(one) for one in alike), strict=True)
    ranges = iter([_range(numbers) for numbers in columns])
    return _NUMBER.sub(lambda _: next(ranges), alike[0])


def _range(numbers: Iterable[tuple[str, str]]) -> str:
    ordered = sorted(numbers, key=lambda one: float(one[0]) * _UNITS[one[1]])
    (low, low_unit), (high, high_unit) = ordered[0], ordered[-1]
    last = f"{high} {high_unit}".rstrip()
    if (low, low_unit) == (high, high_unit):
        return last
    return f"{low} to {last}" if low_unit == high_unit else f"{low} {low_unit} to {last}"
