"""One launch as a report of Nsight Compute has it, whichever way the report is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import LaunchCounters


OPCODES = (("sass__inst_executed_per_opcode", "BAR"),)
"""Metrics with a value for each opcode, and the opcodes that are read: each becomes a metric `name[BAR]`."""


class UnreadableReport(KgateError):
    """What Nsight Compute wrote is no whole report."""


@dataclass(frozen=True)
class Launch:
    """A kernel that ran under Nsight Compute, in the order of the report."""

    counters: LaunchCounters
    """For the record."""

    ranges: tuple[str, ...]
    """The NVTX ranges that were open, outermost first: their messages, without a domain."""

    device: int
    """Index of the GPU among those that the process sees."""

    arch: str
    """Of that GPU: `sm_90`."""
