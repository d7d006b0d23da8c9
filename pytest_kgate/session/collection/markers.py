"""The markers: their arguments, and the gates and options that all markers of a test together ask for.

All markers of a test apply, those of its class and module among them. Every distinct `speedup` is a gate of
its own. Of `allclose` the one nearest to the test counts, and of two `perf` that set one option likewise.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.profile.sanitizer.tools import TOOLS
from pytest_kgate.profile.sanitizer.tools import Sanitize

if TYPE_CHECKING:
    # gate.py computes, so it imports numpy: only a test that has a gate may pay for that.
    from pytest_kgate.statistics.gates import ErrorGate
    from pytest_kgate.statistics.gates import SpeedGate


@dataclass(frozen=True)
class Demands:
    """What a test's markers ask for, all together."""

    speed: tuple[SpeedGate, ...] = ()
    """Outermost first (module, class, test), then from top to bottom; each bound and quantile once."""

    error: ErrorGate | None = None
    """Of the marker nearest to the test."""

    sanitize: Sanitize | None = None
    """Of the marker nearest to the test."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Keywords for `Options.override`, already checked."""


@dataclass(frozen=True)
class Marker:
    """One marker of the table; signature, usage line and parsing are all made from `build`."""

    build: Callable[..., Any]
    """A function of the marker's name and arguments; raises ValueError or UsageError on a bad value."""

    signature: inspect.Signature
    """Of the marker, as users see it."""

    help: str
    """For `pytest --markers`."""

    all_optional: bool = False
    """Whether parameters without a default may be left out all the same."""

    @property
    def name(self) -> str:
        return self.build.__name__

    @property
    def line(self) -> str:
        """As `pytest --markers` shows it."""
        return f"{self.name}{self.signature}: {self.help}"

    @property
    def usage(self) -> str:
        """As a user writes it."""
        return f"@pytest.mark.{self.name}{self.signature}"

    def read(self, mark: pytest.Mark) -> Any:
        """What `mark` says; raises ValueError, TypeError or UsageError where its arguments make no sense."""
        bind = self.signature.bind_partial if self.all_optional else self.signature.bind
        bound = bind(*mark.args, **mark.kwargs)
        return self.build(*bound.args, **bound.kwargs)


def perf(**overrides: object) -> dict[str, Any]:
    return {name: BY_NAME[name].value(value, "marker") for name, value in overrides.items()}


def speedup(bound: object, *, quantile: object = 0.5, confidence: object = 0.95) -> SpeedGate:
    from pytest_kgate.statistics.gates import SpeedGate

    return SpeedGate(
        bound=_number("bound", bound, "a positive finite number", above=0.0),
        quantile=_number("quantile", quantile, "a number between 0 and 1", above=0.0, below=1.0),
        confidence=_number("confidence", confidence, "a number between 0.5 and 1", above=0.5, below=1.0),
    )


def allclose(atol: object, rtol: object = 0.0, *, factor: object = None) -> ErrorGate:
    from pytest_kgate.statistics.gates import ErrorGate

    gate = ErrorGate(
        atol=_number("atol", atol, "a finite number, 0 or more"),
        rtol=_number("rtol", rtol, "a finite number, 0 or more"),
        factor=None if factor is None else _factor(factor),
    )
    if gate.atol == gate.rtol == 0.0:
        raise ValueError("atol and rtol cannot both be 0: no rounding at all would be allowed")
    return gate


def _factor(value: object) -> float:
    """A positive number; infinity switches the comparison with the reference's error off."""
    return math.inf if value == math.inf else _number("factor", value, "a positive number", above=0.0)


def sanitize(*tools: str, kernels: str | None = None, full_size: bool = False) -> Sanitize:
    return Sanitize(tools or TOOLS, kernels, full_size)


def _number(name: str, value: object, wanted: str, *, above: float | None = None, below: float = math.inf) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        high_enough = number >= 0.0 if above is None else number > above
        if high_enough and number < below:  # both are false for NaN
            return number
    raise ValueError(f"{name} must be {wanted}, not {value!r}")


def _plain_signature(function: Callable[..., Any]) -> inspect.Signature:
    parameters = inspect.signature(function).parameters.values()
    return inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])


MARKERS: Mapping[str, Marker] = MappingProxyType(
    {
        marker.name: marker
        for marker in (
            Marker(
                perf,
                inspect.Signature([inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in PER_TEST]),
                "a performance test, run by `pytest -m perf`; every keyword is optional and overrides the "
                "option of its name",
                all_optional=True,
            ),
            Marker(
                speedup,
                _plain_signature(speedup),
                "candidate latency / reference latency, at this quantile, must be below `bound`",
            ),
            Marker(
                allclose,
                _plain_signature(allclose),
                "|candidate - exact| <= atol + rtol * |exact| everywhere, and the rms error at most `factor` times the "
                "reference's, checked before anything is timed",
            ),
            Marker(
                sanitize,
                _plain_signature(sanitize),
                f"run the test's kernels under these tools of compute-sanitizer first: {', '.join(TOOLS)} (default: "
                "all)",
            ),
        )
    }
)


def register(config: pytest.Config) -> None:
    """Make the markers known, with their signatures, to `pytest --markers` and `--strict-markers`."""
    for marker in MARKERS.values():
        config.addinivalue_line("markers", marker.line)


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
        lines = []
        for (complaint, _), tests in complaints.items():
            others = f" (and {len(tests) - 1} more)" if len(tests) > 1 else ""
            lines.append(f"{tests[0]}{others}: {complaint}")
        usages = dict.fromkeys(usage for _, usage in complaints)
        raise UsageError("\n".join(lines), "\n".join(f"Usage: {usage}" for usage in usages))


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
        error=next(reversed(_read_all(item, "allclose")), None),
        sanitize=next(reversed(_read_all(item, "sanitize")), None),
        overrides=MappingProxyType(overrides),
    )


def _read_all(item: pytest.Item, name: str) -> list[Any]:
    marker = MARKERS[name]
    values = []
    for mark in _as_written(item, name):
        try:
            values.append(marker.read(mark))
        except (TypeError, ValueError) as error:
            raise _MarkError(marker, f"{_spell(mark)}: {error}") from None
        except UsageError as error:
            raise _MarkError(marker, f"{_spell(mark)}: {error.what} {error.todo}") from None
    return values


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
    arguments = [repr(value) for value in mark.args]
    arguments += [f"{name}={value!r}" for name, value in mark.kwargs.items()]
    return f"@pytest.mark.{mark.name}({', '.join(arguments)})"
