"""Functions that Python calls for each line or call, and PyTorch for each operator: off while a race is timed.

A tracer (of coverage, of a debugger) slows down both arms where they are Python, and one that a candidate brings can
write to the variables of the functions that measure it. So no race is run under one. Nor does PyTorch tell a profiler
or an observer of its operators then: one that writes an execution trace makes a small one take ten times as long, which
a candidate that calls NumPy leaves to the reference.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def untraced() -> Iterator[list[str]]:
    """No tracer in the block; afterwards the list names the functions by which one was turned on within it.

    Whether PyTorch tells of its operators can't be asked; it does so unless told otherwise, and does again afterwards.
    """
    turned_on: list[str] = []
    trace, profile = sys.gettrace(), profiler_to_restore()
    sys.settrace(None)
    sys.setprofile(None)
    torch._C._autograd._enable_record_function(False)
    try:
        yield turned_on
    finally:
        if sys.gettrace() is not None:
            turned_on.append("sys.settrace")
        if sys.getprofile() is not None:
            turned_on.append("sys.setprofile")
        torch._C._autograd._enable_record_function(True)
        sys.settrace(trace)
        set_profiler(profile)


def profiler_to_restore() -> Any:
    """What `sys.getprofile()` gives; None of one that can't be set from Python, which stays off after a race.

    That of `torch.profiler.profile(with_stack=True)` is one.
    """
    profiler = sys.getprofile()
    return profiler if callable(profiler) or hasattr(profiler, "enable") else None


def set_profiler(profiler: Any) -> None:
    """Restore what `profiler_to_restore` has given.

    cProfile sets itself from C (up to Python 3.11): its object is no function that `sys.setprofile` takes.
    """
    if profiler is None or callable(profiler):
        sys.setprofile(profiler)
    else:
        profiler.enable()


def monitoring() -> list[tuple[str, int]]:
    """Tools that have registered with `sys.monitoring`, and the events that they asked for; Python 3.12 has it."""
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None:
        return []
    tools = ((number, monitoring.get_tool(number)) for number in range(6))
    return [(tool, monitoring.get_events(number)) for number, tool in tools if tool is not None]
