"""The markers: their arguments, what each of them means, and how it is read."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

import pytest

from pytest_kgate.errors import real
from pytest_kgate.errors import shown
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.profile.resources.limits import RESOURCES
from pytest_kgate.profile.resources.limits import ResourceLimit
from pytest_kgate.profile.resources.limits import limit
from pytest_kgate.profile.sanitizer.tools import TOOLS

if TYPE_CHECKING:
    # gates.py computes, so it imports numpy: only a test that has a gate may pay for that. Few tests have bounds.
    from pytest_kgate.profile.nsight.bounds import Bound
    from pytest_kgate.profile.sanitizer.asked import Sanitize
    from pytest_kgate.search.space.space import Space
    from pytest_kgate.statistics.gates import ErrorGate
    from pytest_kgate.statistics.gates import SpeedGate
    from pytest_kgate.statistics.gates import SpeedOfLightGate


class Marker(NamedTuple):
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
        """The marker as `pytest --markers` shows it."""
        return f"{self.name}{self.signature}: {self.help}"

    @property
    def usage(self) -> str:
        """The marker as a user writes it."""
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


def regression(*, margin: object = 0.01) -> float:
    return _number("margin", margin, "a number between 0 and 1, such as 0.01 for 1 %", above=0.0, below=1.0)


def speed_of_light(bound: object, *, confidence: object = 0.95) -> SpeedOfLightGate:
    from pytest_kgate.statistics.gates import LARGEST_SHARE
    from pytest_kgate.statistics.gates import SpeedOfLightGate

    share = f"a share of the roofline, above 0 and at most {LARGEST_SHARE:g} (0.8 is 80 %)"
    return SpeedOfLightGate(
        bound=_number("bound", bound, share, above=0.0, below=math.nextafter(LARGEST_SHARE, 2.0)),
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
    return math.inf if real(value) == math.inf else _number("factor", value, "a positive number", above=0.0)


def sanitize(*tools: str, kernels: str | None = None, full_size: bool = False) -> Sanitize:
    from pytest_kgate.profile.sanitizer.asked import Sanitize

    return Sanitize(tools or TOOLS, kernels, full_size)


def resources(**limits: object) -> dict[str, ResourceLimit]:
    if not limits:
        raise ValueError(f"it limits nothing; there are {', '.join(RESOURCES)}")
    return {name: limit(name, value) for name, value in limits.items()}


def metrics(*tables: object, **bounds: object) -> tuple[Bound, ...]:
    from pytest_kgate.profile.nsight.bounds import read_bounds

    return read_bounds(*tables, **bounds)


def search(*, macro: object = None, micro: object = None, where: object = ()) -> Space:
    from pytest_kgate.search.space.written import read_space

    return read_space(macro, micro, where)


def _number(name: str, value: object, wanted: str, *, above: float | None = None, below: float = math.inf) -> float:
    number = real(value)
    high_enough = number >= 0.0 if above is None else number > above
    if high_enough and number < below:  # both are false for NaN
        return number
    raise ValueError(f"{name} must be {wanted}, not {shown(value)}")


def _keywords(names: Iterable[str]) -> inspect.Signature:
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names])


def _plain_signature(function: Callable[..., Any]) -> inspect.Signature:
    parameters = inspect.signature(function).parameters.values()
    return inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])


MARKERS: Mapping[str, Marker] = MappingProxyType(
    {
        marker.name: marker
        for marker in (
            Marker(
                perf,
                _keywords(PER_TEST),
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
                regression,
                _plain_signature(regression),
                "how much slower the candidate may be than it was at the revision of --kgate-against: 0.01 is "
                "1 %, the default. Without such a revision nothing is raced for it",
            ),
            Marker(
                speed_of_light,
                _plain_signature(speed_of_light),
                "the candidate must reach at least this share of the device's measured roofline: of the latency that "
                "Problem(flops=, bytes=) has at the rates of large products and copies (`kgate roofline`)",
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
            Marker(
                resources,
                _keywords(RESOURCES),
                "the most that each kernel of the candidate may take: registers of a thread, shared memory of a block, "
                "spilled and local bytes of a thread; and the fewest blocks that an SM must hold at once",
                all_optional=True,
            ),
            Marker(
                metrics,
                _plain_signature(metrics),
                "bounds of what Nsight Compute counts while the candidate runs, such as tensor='>= 60 %', dram='<= "
                "1.2x' (times the problem's own bytes); `kgate metrics` lists the names",
            ),
            Marker(
                search,
                _plain_signature(search),
                "the values that `kgate search` chooses among for each knob, such as micro={'STAGES': [2, 3]}, and "
                "constraints on them, such as where=['STAGES * TILE_BYTES <= smem_bytes']; macro knobs make another "
                "kernel, micro knobs tune it. The fixture `knobs` has the champion, or the defaults",
            ),
        )
    }
)


def register(config: pytest.Config) -> None:
    """Make the markers known, with their signatures, to `pytest --markers` and `--strict-markers`."""
    for marker in MARKERS.values():
        config.addinivalue_line("markers", marker.line)
