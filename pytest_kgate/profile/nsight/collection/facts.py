"""What a record says of counters: of both arms of a call, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.collection.collect import CLOCK_CONTROL
from pytest_kgate.profile.nsight.collection.collect import REPLAY
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import CountedCall
from pytest_kgate.profile.nsight.collection.collect import CountedTest

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import CountersFacts


def without_counters(cache_control: str, reason: str) -> CountersFacts:
    """The facts of a call in which nothing was counted."""
    return {
        "state": "not measured",
        "reason": reason,
        "tool": "",
        "replay": REPLAY,
        "cache_control": cache_control,
        "clock_control": CLOCK_CONTROL,
        "seconds": 0.0,
        "sections": [],
        "report": None,
        "candidate": None,
        "reference": None,
    }


def facts_of(
    counted: CountedTest,
    candidate: CountedCall | None,
    reference: CountedCall | None,
    how: Collection,
    arch: str,
    raw: Sequence[str] = (),
    reason: str = "",
) -> CountersFacts:
    """The facts of a call whose arms were counted on a GPU of this architecture, unless there is a reason against it.

    `raw` are names of Nsight Compute's that a marker asks for.
    """
    reason = counted.reason or reason
    if not reason and candidate is None:
        why = f"it failed with: {counted.failure}" if counted.failure else "it must do the same in every process"
        reason = f"The test did not come to this call of kbench under ncu: {why}"
    elif not reason and candidate is not None and not candidate.launches:
        reason = "The candidate launched no kernel in its call. Copies by the driver have no counters."
    facts = without_counters(how.cache_control, reason)
    facts["tool"] = how.tool
    facts["seconds"] = counted.seconds
    if counted.phases is not None:
        facts["phases"] = counted.phases
    facts["sections"] = [] if how.section_set is None else [how.section_set]
    facts["report"] = None if counted.report is None else str(counted.report)
    if not reason and candidate is not None:
        facts["state"] = "measured"
        facts["candidate"] = arm_counters(candidate.launches, arch, raw)
        known = reference is not None and not reference.cut_off
        facts["reference"] = arm_counters(reference.launches, arch, raw) if known and reference is not None else None
    return facts
