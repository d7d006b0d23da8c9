"""A report file `.ncu-rep` of Nsight Compute, read by its own module `ncu_report` (on PyPI), where that is installed.

It gives what the raw table gives, without rounding, and needs no ncu: a report can be read on another machine.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.profile.nsight.reading.launch import OPCODES
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv
from pytest_kgate.profile.nsight.reading.units import factor

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPE_OF_NUMBER = re.compile(r"\([a-z ]+\)(?=-?\d)")
"""In a kernel's name the table has `64`, and the module `(int)64`."""


def launches_of(report: Path, raw_table: Callable[[], str]) -> list[Launch]:
    """The launches of a report, in its order: by the module, or by the table that `raw_table` has ncu print of it.

    Raises `UnreadableReport` where the file is no report, or is cut off.
    """
    if importlib.util.find_spec("ncu_report") is None:
        return read_raw_csv(raw_table())
    return read_report_file(report)


def read_report_file(path: Path) -> list[Launch]:
    """Read a report by Nsight Compute's own module, which must be installed."""
    import ncu_report

    try:
        launches = [_launch(action) for action in actions_of(ncu_report.load_report(str(path)))]
    except Exception as error:  # its own errors are of no documented type
        why = str(error) if isinstance(error, RuntimeError) else f"it lacks {error}"
        raise _unreadable(path, why) from None
    if not launches:  # so the module reads what is cut off early; ncu writes no report without a launch
        raise _unreadable(path, "there is no launch in it")
    return launches


def _unreadable(path: Path, why: str) -> UnreadableReport:
    return UnreadableReport(
        f"{path} can't be read as a report of Nsight Compute: {why}.",
        "It may have been cut off, or written by a newer ncu: run it again, or `pip install --upgrade ncu-report`.",
    )


def actions_of(report: Any) -> Iterator[Any]:
    """The launches of a loaded report, as the module has them, in the report's order."""
    for index in range(report.num_ranges()):
        of_process = report.range_by_idx(index)
        for place in range(of_process.num_actions()):
            yield of_process.action_by_idx(place)


def _launch(action: Any) -> Launch:
    measured = dict(_metrics(action))

    def extent(what: str) -> list[int]:
        return [int(measured[f"launch__{what}_dim_{axis}"]) for axis in "xyz"]

    major, minor = (int(measured[f"device__attribute_compute_capability_{one}"]) for one in ("major", "minor"))
    return Launch(
        counters={
            "kernel": _TYPE_OF_NUMBER.sub("", action.name(action.NameBase_DEMANGLED)),
            "grid": extent("grid"),
            "block": extent("block"),
            "metrics": measured,
        },
        ranges=tuple(_ranges(action.nvtx_state())),
        device=int(measured.get("device__attribute_device_index", 0)),
        arch=f"sm_{major}{minor}",
    )


def _metrics(action: Any) -> Iterator[tuple[str, float]]:
    """Finite numbers by name, in base units."""
    instanced: Mapping[str, str] = dict(OPCODES)
    for name in action.metric_names():
        metric = action.metric_by_name(name)
        if not metric.has_value() or isinstance(metric.value(), str):
            continue
        value = float(metric.as_double())
        if math.isfinite(value):
            yield name, value * factor(metric.unit())
        if name in instanced and metric.num_instances():
            opcodes = metric.correlation_ids()
            parts = {opcodes.as_string(each): metric.as_double(each) for each in range(metric.num_instances())}
            yield f"{name}[{instanced[name]}]", float(parts.get(instanced[name], 0.0))


def _ranges(state: Any) -> Iterator[str]:
    if state is None:
        return
    for index in state.domains():
        domain = state.domain_by_id(index)
        yield from domain.push_pop_ranges()
        yield from domain.start_end_ranges()
