"""Judge recorded races again by another demand."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge_processes import Run
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
    candidate, reference = (decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference"))
    tick, offset = timing["tick_seconds"], float(timing.get("offset_sd", 0.0))
    processes = timing.get("processes")
    if not processes:
        found = judge_rounds(gate, candidate, reference, seed=_SEED, final=True, tick_seconds=tick, offset_sd=offset)
        return Rejudged(record, _charged(record, found))
    runs, start = [], 0
    whole = len({one["samples_per_round"] for one in processes}) == 1
    for one in processes:
        rows = one["rounds"] if whole else one["rounds"] * one["samples_per_round"]
        parts = (side[start : start + rows].reshape(one["rounds"], -1) for side in (candidate, reference))
        runs.append(Run(next(parts), next(parts), offset))
        start += rows
    return Rejudged(record, _charged(record, judge_processes(gate, runs, tick)[0]))


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
