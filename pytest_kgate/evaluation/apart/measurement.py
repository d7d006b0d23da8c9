"""What `kgate measure` writes and `kgate gate` reads: one arm on some problems, each in one process or several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import encode_samples
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import plain
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.statistics.estimates import Floats

SCHEMA = "pytest-kgate/measurements"
VERSION = 1

_LIST = "measurements"

_HEAD = 200
"""Bytes at the start of a file, which name its schema."""

_KINDS: dict[str, Any] = {
    **dict.fromkeys(("arm", "problem", "timer", "cache"), str),
    "checked": bool,
    "tick_seconds": (int, float),
    "environment": dict,
}
"""Types of what is read of a measurement."""

_TODO = "Write one with `kgate measure ... --json FILE`."


# What a file of its own has: one arm without a race has no ratio, gate or verdict, which records and grids are of.
@dataclass(frozen=True)
class Run:
    """The samples of one process."""

    started: str
    """When, with the time zone."""
    seed: int | str
    """Of its inputs and order."""
    samples: Floats
    """Net latencies in seconds, (rounds, samples)."""


@dataclass(frozen=True)
class Measurement:
    """The latencies of one arm on one problem, measured without a race, by one process or several."""

    arm: str
    """`wmma`, `sdpa flash`."""
    problem: str
    """`sdpa 1x8x512x64 float16`."""
    checked: bool
    """Whether its answers were compared with the exact one, and are right; an SDPA is what others are held to."""
    timer: str
    cache: str
    tick_seconds: float
    """The smallest step that a sample can show."""
    warmup_rounds: int
    """That were thrown away at the start of each process."""
    environment: dict[str, Any]
    """Device, driver, versions."""
    runs: tuple[Run, ...]
    """By process, in order."""
    warnings: tuple[str, ...] = ()

    def with_runs_of(self, others: Sequence[Measurement]) -> Measurement:
        """This measurement with the processes of others; raises `KgateError` where they measured different things."""
        for other in others:
            ours, theirs = (f"{one.arm} with the {one.timer} timer" for one in (self, other))
            if ours != theirs:
                raise KgateError(
                    f"The processes measured different things on {self.problem}: {ours}, and {theirs}.",
                    "Name the backend and the timer: --sdpa flash --timer graph, say.",
                )
        runs = (*self.runs, *(run for one in others for run in one.runs))
        warnings = dict.fromkeys((*self.warnings, *(each for one in others for each in one.warnings)))
        return replace(self, runs=runs, warnings=tuple(warnings))

    def to_dict(self) -> dict[str, Any]:
        """In types of JSON."""
        runs = [{"started": run.started, "seed": run.seed, "samples": encode_samples(run.samples)} for run in self.runs]
        return {**vars(self), "runs": runs, "warnings": list(self.warnings)}


def save(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write a file of measurements; raises `UsageError` where that is impossible."""
    listed = plain([one.to_dict() for one in measurements])
    content = {"schema": SCHEMA, "version": VERSION, "created": now(), _LIST: listed}
    json_file.save(path, json.dumps(content, allow_nan=False, indent=1) + "\n")


def load(path: Path) -> list[Measurement]:
    """Read one; raises `UsageError` where it is none, `KgateError` where its samples are damaged."""
    content = json_file.load(path, SCHEMA, VERSION, what="measurements of `kgate measure`", todo=_TODO)
    try:
        listed = content[_LIST]
        found = [Measurement(**{**one, "runs": _runs(one), "warnings": tuple(one["warnings"])}) for one in listed]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged: {error!r} in a measurement.", "Measure again.") from error
    for one in found:
        wrong = [name for name, kind in _KINDS.items() if not isinstance(getattr(one, name), kind)]
        if wrong or not 0 <= one.tick_seconds < 1:  # a second
            name = wrong[0] if wrong else "tick_seconds"
            raise UsageError(
                f"{path} is damaged: the {name} of a measurement is {getattr(one, name)!r:.60}.", "Measure again."
            )
    if not found or not all(one.runs for one in found):
        raise UsageError(f"{path} holds no measurements.", _TODO)
    return found


def _runs(one: dict[str, Any]) -> tuple[Run, ...]:
    return tuple(Run(run["started"], run["seed"], decode_samples(run["samples"])) for run in one["runs"])


def is_measurements(path: Path) -> bool:
    """Whether the file begins as one, which may be cut off; others are for their own readers to refuse."""
    try:
        with path.open("rb") as file:
            return SCHEMA.encode() in file.read(_HEAD)
    except OSError:
        return False
