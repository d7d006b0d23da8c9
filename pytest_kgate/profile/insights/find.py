"""From a record to findings: the rules that hold, those first that explain most."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.profile.insights.knobs import knobs_of
from pytest_kgate.profile.insights.numbers import numbers_of
from pytest_kgate.profile.insights.rule import LEAST_SHARE
from pytest_kgate.profile.insights.rule import Numbers
from pytest_kgate.profile.insights.rule import Rule
from pytest_kgate.profile.insights.rules.table import RULES

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.insights import InsightFacts
    from pytest_kgate.report.record.record import Record

_MIB = 2.0**20

CAUSE = 0.2
"""The share of the time from which a finding is taken for the cause of those that it explains."""


def insights_of(record: Record) -> list[InsightFacts]:
    """Why the candidate is as fast as it is, what explains most first; empty where nothing is known of it."""
    numbers = numbers_of(record)
    knobs = knobs_of(record)
    return [_finding(rule, share, numbers, knobs) for rule, share in found(numbers)]


def found(numbers: Numbers, rules: Sequence[Rule] = RULES) -> list[tuple[Rule, float]]:
    """The rules that hold, with the part of the time that each explains, in their order.

    A finding that is the cause of others counts as much as the largest of those, and stands before them.
    """
    shares = {rule: _share(rule, numbers) for rule in rules}
    holding = [rule for rule in rules if shares[rule] >= LEAST_SHARE]
    holding = [rule for rule in holding if not rule.alone] or holding
    weights = {rule.name: shares[rule] for rule in holding}
    for rule in reversed(holding):  # symptoms stand behind their causes in the table
        if shares[rule] >= CAUSE:
            weights[rule.name] = max([shares[rule], *(weights.get(name, 0.0) for name in rule.explains)])
    return [(rule, shares[rule]) for rule in sorted(holding, key=lambda rule: -weights[rule.name])]


def _share(rule: Rule, numbers: Numbers) -> float:
    if any(name not in numbers for name in rule.needs):
        return 0.0
    try:
        return min(max(rule.share(numbers), 0.0), 1.0)
    except ZeroDivisionError:  # a count that is never 0, of a launch that was not measured
        return 0.0


def _finding(rule: Rule, share: float, numbers: Numbers, knobs: Mapping[str, str]) -> InsightFacts:
    named = ", ".join(f"{name} ({knobs[name]})" for name in rule.knobs if name in knobs)
    return {
        "name": rule.name,
        "finding": rule.finding.format_map(_shown(numbers)),
        "evidence": {"share": round(share, 4), **{name: numbers[name] for name in rule.needs}},
        "confidence": rule.confidence,
        "advice": f"{rule.advice} Its knobs for that: {named}." if named else rule.advice,
    }


def _shown(numbers: Numbers) -> dict[str, float]:
    """The numbers, and some of them in the units in which people read them."""
    scaled: Iterable[tuple[str, str, float]] = (
        ("duration_us", "duration", 1e-6),
        ("local_mib", "local_memory", _MIB),
        ("dram_mib", "dram_bytes", _MIB),
        ("needed_mib", "needed_bytes", _MIB),
        ("shared_kib", "shared_per_block", 1024.0),
    )
    found = dict(numbers)
    found.update({name: numbers[one] / unit for name, one, unit in scaled if one in numbers})
    if numbers.get("launches") and "blocks" in numbers:
        found["blocks_a_launch"] = numbers["blocks"] / numbers["launches"]
    if numbers.get("needed_bytes") and "dram_bytes" in numbers:
        found["excess_factor"] = numbers["dram_bytes"] / numbers["needed_bytes"]
    return found
