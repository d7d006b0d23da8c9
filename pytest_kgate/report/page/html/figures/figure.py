"""A figure: lines and words in a box of fixed size, and the same numbers as a table. Templates make SVG of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

WIDTH = 360
"""Of every figure, in its own units: a phone shows it at its natural size."""

LEFT = 52
"""Where panels begin: room for the labels of their vertical axis."""

RIGHT = WIDTH - 8
"""Where panels end."""


_NARROW = 4
"""Columns of a table that stands beside others."""


@dataclass(frozen=True)
class Line:
    """A path of SVG, and what it stands for."""

    css: str
    """Its class: `candidate`, `reference`, `bound`, `axis`; with `dots` its points are drawn, with `fill` its area."""
    path: str
    """As SVG has it: `M12 30L40 31`."""


@dataclass(frozen=True)
class Word:
    """A piece of text."""

    text: str
    x: float
    y: float
    anchor: str = "start"
    """Which part of it is at `x`: `start`, `middle` or `end`."""
    css: str = ""
    """Its class."""


@dataclass(frozen=True)
class Table:
    """The numbers of a figure as a table, to be read aloud, searched and copied."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int = 1
    """The first column that is set to the right."""


@dataclass(frozen=True)
class Figure:
    """One figure with its table, or a table alone, or a text to be copied."""

    title: str
    """Its heading."""
    table: Table | None = None
    """Shown as it is where nothing is drawn, else folded behind the drawing."""
    caption: str = ""
    """What a reader must know to read it: scales, colours, what was left out."""
    height: float = 0
    """Of the drawing, in its own units; 0 where there is none."""
    lines: Sequence[Line] = ()
    words: Sequence[Word] = ()
    text: str = ""
    """To be copied as it stands: a command, a compiler's flags."""
    legend: Sequence[tuple[str, str]] = ()
    """Classes of lines, and what they stand for."""

    @property
    def wide(self) -> bool:
        """Whether it takes the page's whole width."""
        return not self.height and (self.table is None or len(self.table.head) > _NARROW)


@dataclass(frozen=True)
class Scale:
    """The way from values to places on an axis, in a straight line or by logarithms."""

    low: float
    high: float
    start: float
    """The place of `low`."""
    end: float
    """The place of `high`."""
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place, to a tenth; beyond the ends it is that end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = (math.log(max(one, 1e-300)) for one in (low, high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)

    def step(self, wanted: int) -> float:
        """A round number that is as often between the ends as wanted, or somewhat oftener; 0 where they are one."""
        raw = (self.high - self.low) / wanted
        if not math.isfinite(raw) or raw <= 0:
            return 0.0
        power = 10.0 ** math.floor(math.log10(raw))
        return next(power * one for one in (5, 2, 1) if power * one <= raw * 1.001)

    def ticks(self, wanted: int = 3) -> list[float]:
        """Round values between the ends: as many as wanted, or some more; or the powers of ten."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / wanted))
            return [10.0**power for power in range(first, last + 1, every)]
        step = self.step(wanted)
        if step <= 0:
            return [self.low]
        least = math.ceil(self.low / step - 1e-9)
        return [step * index for index in range(least, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Drawing:
    """A drawing that panels are added to, one below the other."""

    lines: list[Line] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)

    def line(self, css: str, points: Iterable[tuple[float, float]]) -> None:
        """Straight lines from point to point."""
        path = "L".join(f"{x:g} {y:g}" for x, y in points)
        if path:
            self.lines.append(Line(css, f"M{path}"))

    def dots(self, css: str, points: Iterable[tuple[float, float]]) -> None:
        """A dot at each point; those at one place are drawn once."""
        path = "".join(dict.fromkeys(f"M{x:g} {y:g}h0" for x, y in points))
        if path:
            self.lines.append(Line(f"dots {css}", path))

    def columns(self, css: str, columns: Iterable[tuple[float, Iterable[float]]]) -> None:
        """Dots one above the other at each x, in whole units: steps from dot to dot take the least room in a page."""
        path = []
        for x, heights in columns:
            last, *others = sorted({round(y) for y in heights})
            path.append(f"M{x:g} {last}h0")
            for y in others:
                path.append(f"m0 {y - last}h0")
                last = y
        if path:
            self.lines.append(Line(f"dots {css}", "".join(path)))

    def bars(self, css: str, left: float, width: float, base: float, tips: Iterable[float]) -> None:
        """Bars beside each other from a base line to these heights, in whole units."""
        steps = "".join(f"V{round(tip)}h{width:g}" for tip in tips)
        self.lines.append(Line(f"fill {css}", f"M{left:g} {base:g}{steps}V{base:g}z"))

    def word(self, text: str, x: float, y: float, anchor: str = "start", css: str = "") -> None:
        """A piece of text."""
        self.words.append(Word(text, round(x, 1), round(y, 1), anchor, css))

    def down(self, scale: Scale, labels: Iterable[tuple[float, str]]) -> None:
        """Horizontal lines across the panel at these values of its vertical scale, with their labels."""
        for value, label in labels:
            place = scale(value)
            self.line("axis", [(LEFT, place), (RIGHT, place)])
            self.word(label, LEFT - 4, place + 3.5, "end")
