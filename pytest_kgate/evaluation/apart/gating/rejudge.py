"""Judge recorded races again by another demand."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.report.record.samples import runs_of
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge_processes import judge_processes

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_SEED = 42
"""Of bootstrap resamples."""


@dataclass(frozen=True)
class Rejudged:
    """One record under the new demand."""

    record: Record
    judgement: Judgement | None
    """None where the record's own verdict stands, whatever is demanded: wrong, weak, invalid, never timed."""

    @property
    def passes(self) -> bool:
        """Whether the new demand is met."""
        return self.judgement is not None and self.judgement.verdict is Verdict.PASS


def rejudge(record: Record, gate: SpeedGate) -> Rejudged:
    """The verdict by the recorded rounds, up to the look at which they ended."""
    timing = record["timing"]
    row = VERDICTS[record["verdict"]]
    if timing is None or not row.timed or record["verdict"] in ("WEAK", "INVALID"):
        return Rejudged(record, None)
    runs, tick = runs_of(timing), timing["tick_seconds"]
    if timing.get("processes"):
        return Rejudged(record, _charged(record, judge_processes(gate, runs, tick)[0]))
    (one,) = runs
    found = judge_rounds(
        gate, one.candidate, one.reference, seed=_SEED, final=True, tick_seconds=tick, offset_sd=one.offset_sd
    )
    return Rejudged(record, _charged(record, found))


def _charged(record: Record, found: Judgement | None) -> Judgement | None:
    """The judgement, INVALID where an isolated candidate would pass that has, or may have, slowed the reference."""
    isolation = record.get("isolation")
    if isolation is None or found is None or found.verdict is not Verdict.PASS:
        return found
    if isolation["reference_slowed"] is None:
        reason: str | None = "the reference was not timed alone, since no gate was passed then"
    else:
        reason = slowed_down(isolation, [found.to_dict()])
    return replace(found, verdict=Verdict.INVALID, reason=reason) if reason else found
