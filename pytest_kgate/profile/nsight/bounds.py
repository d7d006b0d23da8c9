"""What a `metrics` marker demands: bounds such as `tensor=">= 60 %"`, read, and refused where they make no sense."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import real
from pytest_kgate.errors import shown
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import base_unit
from pytest_kgate.profile.nsight.metrics.table import is_raw

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.limits import LimitSense

UNITS: Mapping[str, tuple[str, float]] = {
    "%": ("%", 1.0),
    "x": ("x", 1.0),
    "B": ("bytes", 1.0),
    "byte": ("bytes", 1.0),
    "bytes": ("bytes", 1.0),
    **{f"{prefix}B": ("bytes", 1000.0**power) for power, prefix in enumerate(("k", "M", "G", "T"), start=1)},
    **{f"{prefix}iB": ("bytes", 1024.0**power) for power, prefix in enumerate(("K", "M", "G", "T"), start=1)},
    "KB": ("bytes", 1000.0),
    "ns": ("seconds", 1e-9),
    "us": ("seconds", 1e-6),
    "ms": ("seconds", 1e-3),
    "s": ("seconds", 1.0),
    "Hz": ("hertz", 1.0),
    "kHz": ("hertz", 1e3),
    "MHz": ("hertz", 1e6),
    "GHz": ("hertz", 1e9),
}
"""As a bound names it -> the base unit, and how many of those it is. `x` is times the problem's own bytes."""

_EXAMPLES = {
    "%": "60 %",
    "x": "1.2x",
    "bytes": "64 MiB",
    "seconds": "20 us",
    "hertz": "1.5 GHz",
}

_FORM = re.compile(r"\s*(?P<sense>[<>=!~]*)\s*(?P<number>[-+]?[\d._]+(?:[eE][-+]?\d+)?|[^\W\d]+)\s*(?P<unit>.*?)\s*")


@dataclass(frozen=True)
class Bound:
    """One demand on one metric."""

    name: str
    """As the marker has it: a short name, or one of Nsight Compute's."""

    sense: LimitSense
    """`<=`: at most; `>=`: at least."""

    limit: float
    """In `unit`."""

    unit: str
    """As the marker has it; empty for a plain number."""

    factor: float = 1.0
    """Base units of one `unit`; 1 where it is `x`."""

    @property
    def metric(self) -> str:
        """What is measured for it: the short name of a row of the table, or a raw name."""
        if is_raw(self.name):
            return self.name
        row = METRICS[self.name]
        return row.bytes_name or row.name if self.unit and self.unit != "%" else row.name

    def __str__(self) -> str:
        return f"{self.name} {self.sense} {self.shown(self.limit)}"

    def shown(self, value: float) -> str:
        """A value of this bound's unit, for people."""
        number = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
        return f"{number}{self.unit}" if self.unit == "x" else f"{number} {self.unit}".rstrip()


def read_bounds(*tables: object, **bounds: object) -> tuple[Bound, ...]:
    """The demands of a `metrics` marker: `metrics(tensor=">= 60 %")`, `metrics({"sm__cycles_active.avg": "<= 9e4"})`.

    Raises `UsageError` for an unknown name, a bound without a sense or with a unit that the metric has not, and where
    nothing is demanded.
    """
    demands: list[tuple[object, object]] = []
    for table in tables:
        if not isinstance(table, Mapping):
            raise UsageError(
                f"{table!r} is no demand on a metric.",
                'Write metrics(tensor=">= 60 %"), or metrics({"sm__cycles_active.avg": "<= 90000"}).',
            )
        demands += table.items()
    demands += bounds.items()
    if not demands:
        raise UsageError("No metric is demanded.", 'Write metrics(tensor=">= 60 %"), say; `kgate metrics` lists them.')
    found = tuple(read_bound(name, text) for name, text in demands)
    senses = Counter((one.metric, one.sense) for one in found)
    twice = next(((name, sense) for (name, sense), count in senses.items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"{twice[0]} is demanded twice to be {twice[1]} something.", "Leave one of the two out.")
    return found


def read_bound(name: object, text: object) -> Bound:
    """Read one bound; raises `UsageError`."""
    if not isinstance(name, str):
        raise UsageError(f"{name!r} is no name of a metric.", "`kgate metrics` lists them.")
    base = base_unit(name)
    if not isinstance(text, str):
        raise _without_sense(name, base, shown(text), _with_unit(text, base))
    found = _FORM.fullmatch(text)
    number = _number(found["number"]) if found else None
    if found is None or number is None:
        raise UsageError(f"{name}={text!r} is no bound.", f"Write {_example(base)!r}, say.")
    sense, unit = found["sense"], found["unit"].rstrip(" <>=")
    amount = f"{found['number']} {unit}".strip() if unit else _with_unit(number, base)
    if not sense:
        raise _without_sense(name, base, repr(text), amount)
    if sense not in ("<=", ">="):
        meant = ">=" if ">" in sense else "<="
        raise UsageError(f"{name}={text!r}: there are <= and >=, not {sense!r}.", f"Write '{meant} {amount}'.")
    return _bound(name, ">=" if sense == ">=" else "<=", number, found["unit"], base, text)


def demand_bytes(bounds: Iterable[Bound], problem: str, ideal_bytes: float | None) -> None:
    """Raise `UsageError` where a bound in `x` is set on a problem that does not say how many bytes it must move."""
    for bound in bounds:
        if bound.unit == "x" and not ideal_bytes:
            raise UsageError(
                f"'{bound}' is in times the problem's own bytes, and {problem} does not say how many those are.",
                "Give it Problem(bytes=...), each input read once and each output written once; or set it in MiB.",
            )


def _bound(name: str, sense: LimitSense, number: float, unit: str, base: str, text: str) -> Bound:
    """A bound whose form is right; raises `UsageError` where number and unit do not suit the metric."""
    said, example = f"{name}={text!r}", f"Write {_example(base)!r}, say."
    if not math.isfinite(number) or number < 0:
        raise UsageError(f"{said}: a bound is a finite number, 0 or more.", example)
    raw = is_raw(name)
    kinds = [base, *(("bytes", "x") if not raw and METRICS[name].bytes_name else ("x",) if base == "bytes" else ())]
    if not unit:
        if base in _EXAMPLES and not raw:
            raise UsageError(f"{said} has no unit; {name} is {_named(kinds)}.", example)
        return Bound(name, sense, number, "")
    kind, factor = (base, 1.0) if unit == base else UNITS.get("us" if unit == "µs" else unit, ("", 0.0))
    if not kind:
        near = next((one for one in UNITS if one.casefold() == unit.casefold()), None)
        raise UsageError(f"{said}: there is no unit {unit!r}.", f"Did you mean {near!r}?" if near else example)
    if kind not in kinds and (kind == "x" or not raw or base):
        raise UsageError(f"{said}: {name} is {_named(kinds)}, not {unit}.", example)
    if kind == "%" and number > 100 and not raw:
        raise UsageError(f"{said}: no share is above 100 %.", example)
    return Bound(name, sense, number, unit, factor)


def _without_sense(name: str, base: str, given: str, amount: str) -> UsageError:
    return UsageError(
        f"{name}={given} does not say whether more or less is demanded.",
        f"Write '>= {amount}' for at least, '<= {amount}' for at most.",
    )


def _example(base: str) -> str:
    return f"{'>=' if base == '%' else '<='} {_EXAMPLES.get(base, '100')}"


def _named(kinds: list[str]) -> str:
    """`% or bytes (B, KiB, MiB, GiB) or x (...)`, for a message."""
    words = {
        "%": "in %",
        "x": "in x (times the problem's own bytes)",
        "bytes": "in bytes (B, KiB, MiB, GiB)",
        "seconds": "a time (us, ms, s)",
        "hertz": "in Hz (MHz, GHz)",
    }
    return " or ".join(words.get(kind, "a plain number") for kind in kinds)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _with_unit(value: object, base: str) -> str:
    """`60 %` of 60; an example where it is no number."""
    if not math.isfinite(number := real(value)):
        return _EXAMPLES.get(base, "100")
    unit = {"%": "%", "bytes": "B", "seconds": "s", "hertz": "Hz"}.get(base, "")
    return f"{number:g} {unit}".strip()
