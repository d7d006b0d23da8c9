"""What is known of one candidate, as a prompt tells it: from a search's trial, or from a record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.report.format import counted
from pytest_kgate.report.format import interval
from pytest_kgate.report.format import ratio
from pytest_kgate.search.prompts.replies.stored import id_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.prompts.replies.reply import Reply

_SAID = re.compile(r"\s*\w+ said(?: last)?:.*", re.DOTALL)
"""What a process printed, behind the sentence on how it ended: it may hold anything that this could read."""

_LONGEST = 600
_STDERRS = 2.0
_OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE", "WEAK", "MEASURED")
"""Verdicts of candidates that are right and have a latency."""


@dataclass(frozen=True)
class Candidate:
    """A candidate of a search, as a prompt tells of it."""

    id: str
    title: str
    """Its knobs, or its name."""
    state: str
    """`raced`, `confirmed`, `wrong`, `unbuildable`, ..."""
    log_ratio: float | None
    """Of its latency to the reference's; None where it has none."""
    ratio: str = ""
    """The same for people, with an interval where there is one."""
    reason: str = ""
    """Why it was rejected."""
    resources: str = ""
    rationale: str = ""
    """What its author said of it."""
    findings: tuple[str, ...] = ()
    """Of the profile's rules."""
    counters: tuple[str, ...] = ()
    """Of the hardware, candidate / reference."""
    source: str = ""
    parents: tuple[str, ...] = ()


def of_trial(trial: Trial, reply: Reply | None, confirmation: Confirmation | None = None) -> Candidate:
    """A candidate of a search; `reply` is that which holds its source, where it has one of its own."""
    objective, confirmed = trial.objective, confirmation is not None and confirmation.passed
    told = ""
    if objective is not None:
        told = f"{ratio(math.exp(objective.log_ratio))}, an estimate of {objective.rounds} rounds"
        if math.isfinite(objective.stderr):
            half = _STDERRS * objective.stderr
            ends = interval(math.exp(objective.log_ratio - half), math.exp(objective.log_ratio + half))
            told = f"{ratio(math.exp(objective.log_ratio))} {ends}, an estimate of {objective.rounds} rounds"
    if confirmation is not None and confirmed:
        parts = (f"{ratio(one)} {interval(low, high)}" for one, low, high in confirmation.ratios.values())
        told = f"{'; '.join(parts)}, confirmed over {counted(confirmation.processes, 'process')}"
    return Candidate(
        id=id_of(trial.configuration) or trial.configuration.id,
        title="a source of its own" if id_of(trial.configuration) else trial.configuration.title,
        state="confirmed" if confirmed else trial.state,
        log_ratio=None if objective is None else objective.log_ratio,
        ratio=told,
        reason=shown(trial.reason),
        resources=_resources(trial.resources),
        rationale=reply.rationale if reply else "",
        source=reply.source if reply else "",
        parents=trial.parents,
    )


def of_record(record: Record) -> Candidate:
    """A candidate that was judged by itself."""
    facts, timing = record["candidate"], record["timing"]
    right = record["verdict"] in _OUTCOMES and timing is not None
    found = next((gate["ratio"] for gate in record["gates"] if gate["ratio"] is not None), None)
    told, log_ratio = "", None
    if timing is not None and right:
        estimate = float(found["estimate"]) if found is not None else float(timing["ratio_of_medians"])
        log_ratio = math.log(estimate)
        ends = f" {interval(float(found['low']), float(found['high']))}" if found is not None else ""
        told = f"{ratio(estimate)}{ends}, verdict {record['verdict']}"
    kernels = facts["resources"]
    names = ("registers", "shared_bytes", "spill_bytes")
    most = {name: max(int(one.get(name, 0) or 0) for one in kernels) for name in names if kernels}  # type: ignore[call-overload]
    knobs = ",".join(f"{name}={value}" for name, value in sorted(facts["knobs"].items()))
    return Candidate(
        id=(facts["source_hash"] or record["test"])[:12],
        title=f"{facts['name']}{f' ({knobs})' if knobs and knobs not in facts['name'] else ''}",
        state="raced" if right else record["verdict"].lower(),
        log_ratio=log_ratio,
        ratio=told,
        reason="" if record["verdict"] == "PASS" else shown(record["reason"]),
        resources=_resources(most),
        findings=tuple(f"{one['finding']} {one['advice']}" for one in record.get("insights") or insights_of(record)),
        counters=_counters(record),
    )


def shown(reason: str) -> str:
    """A reason without what the candidate's own process printed, cut to a length."""
    text = " ".join(_SAID.sub("", reason.partition("\n\n")[0]).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _resources(found: Mapping[str, int]) -> str:
    names = {"registers": "registers", "shared_bytes": "bytes of shared memory", "spill_bytes": "bytes spilled"}
    return ", ".join(f"{found[name]} {title}" for name, title in names.items() if name in found)


def _counters(record: Record) -> tuple[str, ...]:
    counters = record.get("counters")
    if counters is None or counters["candidate"] is None:
        return ()
    mine, theirs = counters["candidate"]["metrics"], (counters["reference"] or counters["candidate"])["metrics"]
    return tuple(
        f"{name}: {facts['value']:.4g}"
        + (f" / {theirs[name]['value']:.4g}" if counters["reference"] is not None and name in theirs else "")
        for name, facts in mine.items()
    )
