"""The knobs of a candidate: what it was built with, and what else its source lets a user choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.build import registry
from pytest_kgate.errors import KgateError

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def knobs_of(record: Record) -> dict[str, str]:
    """Name -> `now 64` of one that was chosen, `default 4` of the others of a shipped kernel."""
    candidate = record["candidate"]
    chosen = {name: f"now {value}" for name, value in candidate["knobs"].items()}
    if candidate["implementation"] is None:
        return chosen
    try:
        source = registry.find_source(candidate["implementation"])
    except KgateError:  # of a later version, or another installation
        return chosen
    return {**{knob.name: f"default {knob.default}" for knob in source.knobs}, **chosen}
