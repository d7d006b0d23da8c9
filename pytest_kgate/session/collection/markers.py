"""What all markers of a test together ask for: gates, limits and options.

All markers of a test apply, those of its class and module among them. Every distinct `speedup` is a gate of
its own. Of `allclose` the one nearest to the test counts, and of two `perf` that set one option likewise.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.errors import shown
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.session.collection.marker_table import MARKERS
from pytest_kgate.session.collection.marker_table import Marker

if TYPE_CHECKING:
    # gate.py computes, so it imports numpy: only a test that has a gate may pay for that. Few tests have bounds.
    from pytest_kgate.profile.nsight.bounds import Bound
    from pytest_kgate.profile.resources.limits import ResourceLimit
    from pytest_kgate.profile.sanitizer.asked import Sanitize
    from pytest_kgate.search.space.space import Space
    from pytest_kgate.statistics.gates import ErrorGate
    from pytest_kgate.statistics.gates import SpeedGate
    from pytest_kgate.statistics.gates import SpeedOfLightGate


_NEAR = 0.75
"""How alike a marker's name is to one of ours where it is taken for that, misspelt: `perf` and `pref` are so much."""

_MOST_SPELT = 200
"""Letters of each of a marker's values, where a message repeats it."""


@dataclass(frozen=True)
class Demands:
    """What a test's markers ask for, all together."""

    speed: tuple[SpeedGate, ...] = ()
    """Outermost first (module, class, test), then from top to bottom; each bound and quantile once."""

    light: SpeedOfLightGate | None = None
    """Of the marker nearest to the test."""

    margin: float | None = None
    """Of the regression marker nearest to the test."""

    error: ErrorGate | None = None
    """Of the marker nearest to the test."""

    sanitize: Sanitize | None = None
    """Of the marker nearest to the test."""

    resources: tuple[ResourceLimit, ...] = ()
    """Of each resource the limit of the marker nearest to the test."""

    metrics: tuple[Bound, ...] = ()
    """Of all markers, in the order of `speed`; each once."""

    search: Space | None = None
    """Of the marker nearest to the test; its facts of the device are not read yet."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Keywords for `Options.override`, already checked."""

    @property
    def resources_alone(self) -> bool:
        """Whether limits on resources are all that is demanded, for which no GPU is needed."""
        others = self.speed or self.light or self.error or self.sanitize or self.metrics
        return bool(self.resources) and not others

    @property
    def has_limits(self) -> bool:
        """Whether anything is demanded that may turn out not to be measured."""
        return bool(self.resources or self.metrics or self.light)


def gates_of(item: pytest.Item) -> Demands:
    """What the markers of `item` demand; raises UsageError with the test's id and the marker's usage line."""
    try:
        return _demands(item)
    except _MarkError as bad:
        raise UsageError(f"{item.nodeid}: {bad.complaint}", f"Usage: {bad.marker.usage}") from None


def validate(items: Iterable[pytest.Item]) -> None:
    """Raise one UsageError that names every bad marker of `items`; a parametrized test's is named once."""
    complaints: dict[tuple[str, str], list[str]] = {}
    for item in items:
        try:
            _demands(item)
        except _MarkError as bad:
            complaints.setdefault((bad.complaint, bad.marker.usage), []).append(item.nodeid)
    if complaints:
        usages = dict.fromkeys(usage for _, usage in complaints)
        raise UsageError(_lines(complaints), "\n".join(f"Usage: {usage}" for usage in usages))


def demand_known(items: Iterable[pytest.Item], registered: Iterable[str], selection: str, left: Container[str]) -> None:
    """Raise one UsageError for all markers that pytest does not know, and whose names are nearly one of these.

    pytest warns of it, and the test then passes without the gate that was meant. `registered` are the lines of the ini
    entry `markers`. A test that is not among those `left` does not count, unless the `selection` by markers (-m) names
    the one that was meant: by that it may have been left out.
    """
    known = {re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in registered}
    complaints: dict[tuple[str, str], list[str]] = {}
    for item in items:
        for name in dict.fromkeys(mark.name for mark in item.iter_markers()):
            near = [] if name in known else difflib.get_close_matches(name, MARKERS, n=1, cutoff=_NEAR)
            if near and (item.nodeid in left or re.search(rf"\b{near[0]}\b", selection)):
                complaint = f"there is no marker {name!r}. Did you mean {near[0]!r}?"
                complaints.setdefault((complaint, MARKERS[near[0]].usage), []).append(item.nodeid)
    if complaints:
        usages = dict.fromkeys(f"Usage: {usage}." for _, usage in complaints)
        own = "One of your own is to be registered: `markers` of pytest's ini."
        raise UsageError(_lines(complaints), f"{chr(10).join(usages)} {own}")


def _lines(complaints: Mapping[tuple[str, str], Sequence[str]]) -> str:
    """A line for each complaint, with the first of its tests and how many others there are."""
    lines = []
    for (complaint, _), tests in complaints.items():
        others = f" (and {len(tests) - 1} more)" if len(tests) > 1 else ""
        lines.append(f"{tests[0]}{others}: {complaint}")
    return "\n".join(lines)


class _MarkError(Exception):
    def __init__(self, marker: Marker, complaint: str) -> None:
        super().__init__(complaint)
        self.marker = marker
        self.complaint = complaint


def _demands(item: pytest.Item) -> Demands:
    speed: dict[tuple[float, float], SpeedGate] = {}
    for gate in _read_all(item, "speedup"):
        key = (gate.bound, gate.quantile)
        # The same demand twice is one gate, at the higher confidence, which implies the lower.
        if key not in speed or gate.confidence > speed[key].confidence:
            speed[key] = gate
    resources: dict[str, ResourceLimit] = {}
    for limits in _read_all(item, "resources"):
        resources.update(limits)
    overrides: dict[str, Any] = {}
    for keywords in _read_all(item, "perf"):
        overrides.update(keywords)
    try:
        if overrides:
            override(Options(), **overrides)
    except UsageError as error:
        raise _MarkError(MARKERS["perf"], f"{error.what} {error.todo}") from None
    return Demands(
        speed=tuple(speed.values()),
        light=next(reversed(_read_all(item, "speed_of_light", once=True)), None),
        margin=next(reversed(_read_all(item, "regression", once=True)), None),
        error=next(reversed(_read_all(item, "allclose")), None),
        sanitize=next(reversed(_read_all(item, "sanitize")), None),
        resources=tuple(
            {name: one for limits in _read_all(item, "resources") for name, one in limits.items()}.values()
        ),
        metrics=tuple(dict.fromkeys(one for bounds in _read_all(item, "metrics") for one in bounds)),
        search=next(reversed(_read_all(item, "search", once=True)), None),
        overrides=MappingProxyType(overrides),
    )


def _read_all(item: pytest.Item, name: str, *, once: bool = False) -> list[Any]:
    """What all markers of this name say, the nearest to the test last; with `once`, two in one place are refused."""
    marker = MARKERS[name]
    values = []
    for mark in _as_written(item, name):
        beside = next((one for one in _in_one_place(item, mark) if one is not mark), None)
        if once and beside is not None:
            raise _MarkError(marker, f"{_spell(mark)} and {_spell(beside)} are in one place; only one of them can hold")
        try:
            values.append(marker.read(mark))
        except (TypeError, ValueError) as error:
            unknown = next((one for one in mark.kwargs if one not in marker.signature.parameters), None)
            meant = "" if unknown is None else f".{_meant(unknown, mark, marker)}".rstrip(".")
            raise _MarkError(marker, f"{_spell(mark)}: {error}{meant}") from None
        except UsageError as error:
            raise _MarkError(marker, f"{_spell(mark)}: {error.what} {error.todo}") from None
    return values


def _meant(unknown: str, mark: pytest.Mark, marker: Marker) -> str:
    """Which argument the unknown one may be: one that is missing before any other."""
    parameters = list(marker.signature.parameters.values())[len(mark.args) :]
    missing = [one.name for one in parameters if one.default is one.empty and one.name not in mark.kwargs]
    return hint(unknown, missing) or hint(unknown, marker.signature.parameters)


def _in_one_place(item: pytest.Item, mark: pytest.Mark) -> list[pytest.Mark]:
    """The markers of this one's name on the same function, parameter, class or module, from the bottom up."""
    of_parameter = getattr(getattr(item, "callspec", None), "marks", ())
    node = next(node for node in item.listchain() if any(one is mark for one in node.own_markers))
    by_parameter = any(one is mark for one in of_parameter)
    return [
        one
        for one in node.own_markers
        if one.name == mark.name and any(one is other for other in of_parameter) == by_parameter
    ]


def _as_written(item: pytest.Item, name: str) -> list[pytest.Mark]:
    """Outermost first and top to bottom, so that the later of two is the nearer to the test."""
    marks: list[pytest.Mark] = []
    for node in item.listchain():
        own = [mark for mark in node.own_markers if mark.name == name]
        if isinstance(node, pytest.Module):
            marks += own  # the module's `pytestmark` list
            continue
        # Decorators are stored from the bottom up. A parameter's marks say most about this one test: last.
        callspec = getattr(node, "callspec", None)
        of_parameter = [mark for mark in own if any(mark is each for each in getattr(callspec, "marks", ()))]
        marks += [mark for mark in reversed(own) if not any(mark is each for each in of_parameter)]
        marks += of_parameter
    return marks


def _spell(mark: pytest.Mark) -> str:
    arguments = [shown(value, _MOST_SPELT) for value in mark.args]
    arguments += [f"{name}={shown(value, _MOST_SPELT)}" for name, value in mark.kwargs.items()]
    return f"@pytest.mark.{mark.name}({', '.join(arguments)})"
