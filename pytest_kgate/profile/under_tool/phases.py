"""Where the seconds of a watched process went, by what it told and when."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Phases:
    """Where a process under a tool spent its seconds, phase by phase; one that was lost spent the rest in its last."""

    start: float = 0.0
    """Of the tool, Python, pytest and its plugins."""
    collection: float = 0.0
    """The tests' files imported, PyTorch with them."""
    preparation: float = 0.0
    """In tests: inputs drawn, kernels loaded, calls that warm up, references compared."""
    watched: float = 0.0
    """In tests: the calls that the tool looked at."""
    end: float = 0.0
    """Behind the last test: what the tool writes, and the end of the processes."""


def phases_of(told: Sequence[Mapping[str, Any]], began: float, ended: float) -> Phases:
    """The phases of a process by the lines that it told; `began` and `ended` are by `time.monotonic`, in seconds.

    That clock is one for all processes of a machine. Its lines have the time `at`.
    """
    configured = _at((line for line in told if "configured" in line), ended)
    collected = _at((line for line in told if "collected" in line), ended)
    finished = _at((line for line in told if "finished" in line), ended)
    watched = sum(float(line.get("watched_seconds", 0.0)) for line in told)
    return Phases(
        start=max(0.0, configured - began),
        collection=max(0.0, collected - configured),
        preparation=max(0.0, finished - collected - watched),
        watched=watched,
        end=max(0.0, ended - finished),
    )


def _at(lines: Iterable[Mapping[str, Any]], otherwise: float) -> float:
    return next((float(line["at"]) for line in lines if "at" in line), otherwise)
