"""Numbers and limits as text, and an interval drawn against its bound. In ASCII, which every log and terminal shows."""

from __future__ import annotations

import math
import re
import statistics
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.wording import counted as counted
from pytest_kgate.statistics.wording import percent as percent
from pytest_kgate.statistics.wording import seconds as seconds
from pytest_kgate.statistics.wording import significant as significant

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.statistics.gate_facts import PercentileFacts

STEPS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Fractions of the bound that one character of a drawing may stand for."""

_JOINERS = "\u200c\u200d"
"""Invisible, and in letters of some languages and in emoji; all else of their kind is shown by its number."""

_COMMAND = re.compile(r"^([^\S\n]*)(?=::|##\[)", re.MULTILINE)
"""Within a line: blanks that go on over many lines would be looked through once for each of them."""

_MOST_DECIMALS = 5
"""Of a ratio: 0.001 % is below what any timer here resolves."""


def visible(value: str, *, lines: bool = False) -> str:
    """The text with what can't be seen (control characters, marks that turn the direction) as its number: `\\u202e`.

    Line ends and tabs become blanks; with `lines` they are kept, as those of a text of several lines.
    """
    if value.isprintable() and "  " not in value:
        return value
    kept = "\n\t" if lines else ""
    text = value.replace("\r\n", "\n")
    if not lines:
        text = " ".join(text.split())
    return "".join(
        letter if letter in kept or not _is_hidden(letter) else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def no_commands(value: str) -> str:
    """A text of several lines, none of which CI takes for a command to itself (`::error::`), indented or not."""
    return _COMMAND.sub(r"\1\\", value)


def printable(value: object) -> str:
    """Text of a process that is not trusted, with `?` for control characters, which could rewrite the terminal."""
    return no_commands("".join(one if one.isprintable() or one == "\n" else "?" for one in str(value)))


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and letter not in _JOINERS


def ratio(value: float, decimals: int = 3) -> str:
    """A latency ratio: `0.612`; fewer decimals from 10 on."""
    if not math.isfinite(value) or abs(value) >= 10:
        return significant(value)
    return f"{value:.{decimals}f}"


def decimals_for(low: float, high: float, *others: float) -> int:
    """The fewest decimals, 3 to 5, at which the ends of an interval, and the other values, still look different."""
    values = sorted({low, high, *others})
    for decimals in range(3, _MOST_DECIMALS):
        if len({round(value, decimals) for value in values}) == len(values):
            return decimals
    return _MOST_DECIMALS


def interval(low: float, high: float, decimals: int = 3) -> str:
    """Both ends of a ratio's interval: `[0.604, 0.619]`."""
    return f"[{ratio(low, decimals)}, {ratio(high, decimals)}]"


def rounds(taken: int, look: int | None) -> str:
    """Of how many rounds an interval is: `24 rounds`; of a race that went on past its latest look also all it took."""
    if look is None:
        return counted(taken, "round")
    judged = counted(LOOKS[look], "round")
    return judged if LOOKS[look] == taken else f"{judged}, the latest look ({taken} were taken)"


def error(value: float | str) -> str:
    """A numerical error: `4.9e-04`; `value` may be as records write it."""
    value = float(value)
    if not math.isfinite(value):
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"


def bound(value: float | str) -> str:
    """A bound as the user wrote it, with two decimals at least: `0.95`, `1.00`, `0.955`."""
    value = float(value)
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def seconds_if_any(value: float | None) -> str:
    """A time, or nothing."""
    return "" if value is None else seconds(value)


def fixed_if_any(value: float | None, decimals: int = 0) -> str:
    """A number with so many decimals, or nothing."""
    return "" if value is None else f"{value:.{decimals}f}"


def percentile(found: PercentileFacts) -> str:
    """`9.21 us [9.18 us, 9.25 us]`; `at most` the one-sided bound; or a dash, and how many more samples it takes."""
    low, high, upper = found["low_seconds"], found["high_seconds"], found["upper_seconds"]
    estimate = float(found["estimate_seconds"])
    if low is not None and high is not None:
        digits = next((one for one in (3, 4) if seconds(low, digits=one) != seconds(high, digits=one)), 5)
        estimated, lowest, highest = (seconds(value, digits=digits) for value in (estimate, low, high))
        return f"{estimated} [{lowest}, {highest}]"
    if upper is not None:
        return f"{seconds(estimate)}, at most {seconds(upper)}"
    return f"- ({found['missing_samples']} more samples)"


def percentiles(found: Iterable[PercentileFacts]) -> str:
    """All that are known of an arm: `p50 9.21 us [9.18 us, 9.25 us]; p99 - (194 more samples)`; or empty."""
    return "; ".join(f"p{100 * float(one['quantile']):g} {percentile(one)}" for one in found)


def quantity(value: float | str, unit: str) -> str:
    """A number in the unit of a limit: `96 KiB`, `61.3 %`, `1.2x`, `1 block`, `2 blocks`."""
    value = float(value)
    number = f"{value:.0f}" if value.is_integer() else significant(value, 4)
    number = number.rstrip("0").rstrip(".") if "." in number else number
    if number == "1" and unit.endswith("s") and len(unit) > 2:
        unit = unit[:-1]  # 1 block
    return f"{number}x" if unit == "x" else f"{number} {unit}".rstrip()


def limit_bound(limit: LimitFacts) -> str:
    """`<= 72`, `>= 60 %`; the unit is left out where the limit's name says it."""
    return f"{limit['sense']} {_of_limit(limit, limit['bound'])}"


def limit_demand(limit: LimitFacts) -> str:
    """`registers at most 72`, `tensor at least 60 %`."""
    return f"{limit['name']} at {'most' if limit['sense'] == '<=' else 'least'} {_of_limit(limit, limit['bound'])}"


def limit_value(limit: LimitFacts) -> str:
    """`80`, `61.3 % [60.9 %, 61.8 %]`; empty where nothing was measured."""
    if limit["value"] is None:
        return ""
    ends = [float(limit["interval"][end]) for end in ("low", "high")] if limit["interval"] else []
    shown = f" [{', '.join(_of_limit(limit, end) for end in ends)}]" if ends else ""
    return f"{_of_limit(limit, limit['value'])}{shown}"


def _of_limit(limit: LimitFacts, value: float) -> str:
    unit = limit["unit"]
    return quantity(value, "" if len(unit) > 1 and unit.casefold() in limit["name"] else unit)


def step_for(intervals: Iterable[tuple[float, float, float]]) -> float:
    """The fraction of the bound that one character stands for, of `STEPS`, for drawings that share a scale.

    Takes (low, high, bound) of each. The nearest third of the intervals comes within three characters of the bound, and
    half of them are at most six long; what is further off is clear without a drawing.
    """
    nearest, widths = [], []
    for low, high, limit in intervals:
        nearest.append(0.0 if low <= limit <= high else min(abs(low / limit - 1), abs(high / limit - 1)))
        widths.append((high - low) / limit)
    if not widths:
        return STEPS[-1]
    wanted = max(sorted(nearest)[len(nearest) // 3] / 3, statistics.median(widths) / 6)
    return next((step for step in STEPS if step >= wanted), STEPS[-1])


def drawing(low: float, estimate: float, high: float, limit: float, step: float = 0.01, width: int = 13) -> str:
    """The interval against its bound `limit`, at most `width` characters (odd): `--[=|=]!-----`.

    The bound `!` is in the middle, and one character is `step` of it. What is below the bound, by however little, is
    drawn left of it and what is above it right; `<` and `>` stand for what lies further off than is drawn.
    """
    half = width // 2

    def column(value: float) -> int:
        distance = (value / limit - 1) / step
        if not math.isfinite(distance):
            return half + 1 if distance > 0 else -half - 1
        return max(-half - 1, min(half + 1, math.floor(distance) if distance < 0 else math.ceil(distance)))

    first, middle, last = column(low), column(estimate), column(high)
    cells = dict.fromkeys(range(-half, half + 1), "-")
    for position in range(first, last + 1):
        cells[position] = "="
    cells[first], cells[last] = "[", "]"
    cells[middle] = "|"
    cells[0] = "!"
    if first < -half:
        cells[-half] = "<"
    if last > half:
        cells[half] = ">"
    return "".join(cells[position] for position in range(-half, half + 1))
