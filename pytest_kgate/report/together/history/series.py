"""A history by gate: ratios over time, on whatever machine, and latencies under one set of conditions each."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.store import time_of


@dataclass(frozen=True)
class Series:
    """The points of one gate of one test, in the order of their times."""

    test: str
    call: int
    quantile: float
    points: Sequence[Point]

    @property
    def title(self) -> str:
        """`test_it.py::test[1x8], second call, p90`."""
        parts = [self.test, f"call {self.call + 1}" if self.call else "", quantile_name(self.quantile)]
        return ", ".join(filter(None, parts))

    @property
    def raced(self) -> Sequence[Point]:
        """The points with a ratio."""
        return [point for point in self.points if point.ratio is not None]

    @property
    def by_conditions(self) -> Sequence[Sequence[Point]]:
        """The points in groups whose latencies can be compared, the group of the latest point last."""
        groups: dict[tuple[str | None, ...], list[Point]] = {}
        for point in self.points:
            groups.setdefault(point.conditions, []).append(point)
        return sorted(groups.values(), key=lambda group: time_of(group[-1].started))


def series_of(points: Iterable[Point]) -> list[Series]:
    """All series of a history, in the order of their tests' names."""
    groups: dict[tuple[str, int, float], list[Point]] = {}
    for point in points:
        groups.setdefault((point.test, point.call, point.quantile), []).append(point)
    return [Series(*key, found) for key, found in sorted(groups.items())]


def day(point: Point) -> str:
    """`27 Nov 2026`."""
    moment = datetime.datetime.fromtimestamp(time_of(point.started), datetime.timezone.utc)
    return f"{moment.day} {moment:%b %Y}"


def machine(point: Point) -> str:
    """`NVIDIA H200 (GPU-1a2b), driver 570.1, CUDA 12.8, torch 2.9, graph, hot`, what is not known left away."""
    card = f" ({point.uuid[:12]})" if point.uuid else ""
    parts = [
        f"{point.gpu or point.device or 'a machine'}{card}",
        f"driver {point.driver}" if point.driver else "",
        f"CUDA {point.cuda}" if point.cuda else "",
        f"torch {point.torch}" if point.torch else "",
        point.timer,
        point.cache,
    ]
    return ", ".join(filter(None, parts))
