"""Judge recorded races again by another demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    tick = timing["tick_seconds"]
    processes = timing.get("processes")
    if not processes:
        offset = float(timing.get("offset_sd", 0.0))
        found = judge_rounds(gate, candidate, reference, seed=_SEED, final=True, tick_seconds=tick, offset_sd=offset)
        return Rejudged(record, found)
    runs, start = [], 0
    whole = len({one["samples_per_round"] for one in processes}) == 1
    for one in processes:
        rows = one["rounds"] if whole else one["rounds"] * one["samples_per_round"]
        parts = (side[start : start + rows].reshape(one["rounds"], -1) for side in (candidate, reference))
        runs.append(Run(*parts))
        start += rows
    return Rejudged(record, judge_processes(gate, runs, tick)[0])
