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

_ACCEPTED = ": accepted, as asked"
"""How a record ends the warning of a disturbance that its session was told to bear."""


@dataclass(frozen=True)
class Rejudged:
    """One record under the new demand."""

    record: Record
    judgement: Judgement | None
    """None where the record's own verdict stands, whatever is demanded: wrong, weak, invalid, never timed."""

    @property
    def verdict(self) -> str:
        """The verdict on the new demand, or the recorded one where that stands."""
        if self.judgement is not None:
            return self.judgement.verdict.value
        return "WRONG" if _is_wrong(self.record) else self.record["verdict"]

    @property
    def reason(self) -> str:
        """Why it is not passed; empty where it is."""
        if self.judgement is not None:
            return self.judgement.reason
        check = self.record["correctness"]
        return check["reason"] if check is not None and _is_wrong(self.record) else self.record["reason"]

    @property
    def passes(self) -> bool:
        """Whether the new demand is met."""
        return self.judgement is not None and self.judgement.verdict is Verdict.PASS


def rejudge(record: Record, gate: SpeedGate) -> Rejudged:
    """The verdict by the recorded rounds, up to the look at which they ended."""
    timing = record["timing"]
    row = VERDICTS[record["verdict"]]
    if timing is None or not row.timed or record["verdict"] in ("WEAK", "INVALID") or _is_wrong(record):
        return Rejudged(record, None)
    runs, tick = runs_of(timing), timing["tick_seconds"]
    if timing.get("processes"):
        return Rejudged(record, _charged(record, judge_processes(gate, runs, tick)[0]))
    (one,) = runs
    found = judge_rounds(
        gate, one.candidate, one.reference, seed=_SEED, final=True, tick_seconds=tick, offset_sd=one.offset_sd
    )
    return Rejudged(record, _charged(record, found))


def _is_wrong(record: Record) -> bool:
    """Whether its answer was wrong, which a call that demands nothing measures all the same."""
    check = record["correctness"]
    return check is not None and check["verdict"] == "FAIL"


def _charged(record: Record, found: Judgement | None) -> Judgement | None:
    """The judgement, INVALID where it would pass for what the recorded one may not have rested on."""
    if found is None or found.verdict is not Verdict.PASS or found.ratio is None:
        return found
    reason = _slowed(record, found) or _disturbed(record, found.gate)
    return replace(found, verdict=Verdict.INVALID, reason=reason) if reason else found


def _slowed(record: Record, found: Judgement) -> str | None:
    """Why the reference may have been slower beside the candidate than alone; None where it was not by so much."""
    isolation, integrity = record.get("isolation"), record.get("integrity")
    if isolation is not None and isolation["reference_slowed"] is None:
        return "the reference was not timed alone, since no gate was passed then"
    if isolation is not None and (reason := slowed_down(isolation, [found.to_dict()])):
        return reason
    charged = float(integrity["clean"].get("charged", 1.0)) if integrity and "clean" in integrity else 1.0
    assert found.ratio is not None
    if charged > 1.0 and found.ratio.high * charged >= found.gate.bound:
        return f"against the reference of a clean process its ratio is {charged:.4g} times as large"
    return None


def _disturbed(record: Record, gate: SpeedGate) -> str | None:
    """What disturbed the race, where that was borne for a demand which was met more clearly than this one."""
    timing = record["timing"]
    tries = timing.get("evidence", {}).get("tries", []) if timing is not None else []
    accepted = {warning.removesuffix(_ACCEPTED) for warning in record["warnings"]}
    reasons = [reason for reason in (tries[-1]["reasons"] if tries else ()) if reason not in accepted]
    stricter = any(
        one["verdict"] == "PASS" and one["bound"] <= gate.bound and one["quantile"] == gate.quantile
        for one in record["gates"]
    )
    if not reasons or stricter:
        return None
    return f"{'; '.join(reasons)}: whether that can have turned this verdict is not recorded"
