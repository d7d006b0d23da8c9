"""One evaluation as it goes to a worker and comes back: plain values, which can be sent to another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FILES = "{files}"
"""In an argument: the folder that the order's files are written to, wherever the worker runs."""


@dataclass(frozen=True)
class Order:
    """What a worker is to run: `kgate evaluate` with these arguments, in a process of its own."""

    arguments: tuple[str, ...]
    """`FILES` in them stands for the folder of `files`."""
    folder: str
    """The current folder of the process."""
    limit_seconds: float
    """Of the candidate's own time; waiting for the device is not counted."""
    files: tuple[tuple[str, str], ...] = ()
    """Name and text of each."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables to set beside the worker's own."""


@dataclass(frozen=True)
class Answered:
    """What came of an order. There is always one, whatever the candidate did."""

    answer: Mapping[str, Any] | None
    """The JSON object that `kgate evaluate` printed; None where it did not come to that."""
    lost: str = ""
    """Why there is none, in a sentence; empty where there is one."""
    seconds: float = 0.0
    """From the order to its answer."""
    waited_seconds: float = 0.0
    """Of those, what was spent on waiting for the device."""
    killed: bool = False
    """Whether it was ended because it took too long."""
