"""Latency gates judged again from the recorded samples, by the rule that judged them in the race."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate import __version__
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.bench.seeds import root_of
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge import with_bootstrap_intervals
from pytest_kgate.statistics.judge_processes import judge_processes
from pytest_kgate.validation.receipts.judged_again.compare import differences
from pytest_kgate.validation.receipts.judged_again.evidence import first_seed

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.estimates import Floats
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gates import Judgement
    from pytest_kgate.statistics.judge_processes import Run

_RESAMPLED = ("bootstrap_ratio", "bootstrap_difference_seconds")
"""Of resamples whose seed must be known."""

_RULES = ("sequential", "classic")


def of_gates(record: Record, runs: Sequence[Run]) -> Iterator[str]:
    """What of the gates does not follow from these samples, one run a process."""
    seen = set()
    for index, gate in enumerate(record["gates"]):
        path = f"gates[{index}]"
        demand = gate["bound"], gate["quantile"]
        if demand in seen:
            yield f"{path} demands what a gate before it does, and one demand is one gate"
        seen.add(demand)
        if gate.get("rule", "sequential") not in _RULES:
            yield f"{path}.rule is {gate.get('rule')!r}, which is none"
            continue
        if not runs:
            if gate["verdict"] != "INVALID":
                yield f"{path} is {gate['verdict']}, and there are no samples that it was judged on"
            continue
        found = _judged(record, gate, runs)
        yield from _differences(path, record, gate, found)


def _judged(record: Record, gate: GateFacts, runs: Sequence[Run]) -> GateFacts:
    demand = SpeedGate(gate["bound"], gate["quantile"], gate["confidence"], gate.get("rule", "sequential"))
    timing = record["timing"]
    assert timing is not None
    if timing.get("processes"):
        judgement, spread = judge_processes(demand, runs, timing["tick_seconds"])
        found = judgement.to_dict()
        if spread is not None:
            found["processes"] = spread.to_dict(runs)
        return found
    return _of_race(demand, runs[0], record, timing["tick_seconds"]).to_dict()


def _of_race(gate: SpeedGate, run: Run, record: Record, tick: float) -> Judgement:
    """As the race went: at each look that was reached, and after its last round where none of them decided."""
    deciding, shown = _seeds(record)
    rounds = len(run.candidate)

    def at(count: int, *, final: bool) -> Judgement | None:
        parts: tuple[Floats, Floats] = (run.candidate[:count], run.reference[:count])
        return judge_rounds(gate, *parts, seed=deciding, final=final, tick_seconds=tick, offset_sd=run.offset_sd)

    looks = (judged for look in LOOKS if look <= rounds and (judged := at(look, final=False)) is not None)
    judgement = next(looks, None) or at(rounds, final=True)
    assert judgement is not None  # a final call always judges
    return with_bootstrap_intervals(judgement, run.candidate, run.reference, seed=shown)


def _seeds(record: Record) -> tuple[int, int]:
    """Of the resamples that decided, and of those that the record shows: the book of the race that counts, and of the
    first one, where that was disturbed."""
    books = (SeedBook(root_of(seed)) for seed in (record["seeds"]["race"], first_seed(record)))
    deciding, shown = (book.seed(Stream.RESAMPLES) for book in books)
    return deciding, shown


def _differences(path: str, record: Record, gate: GateFacts, found: GateFacts) -> Iterator[str]:
    said: dict[str, Any] = {name: value for name, value in gate.items() if name in found}
    rule: dict[str, Any] = {name: value for name, value in found.items() if name in said}
    withheld = gate["verdict"] == "INVALID" and record["verdict"] in ("INVALID", "ERROR")
    if withheld:  # by what disturbed the race: the numbers stand beside it
        rule["verdict"] = "INVALID"
    seeds_known = record["seeds"].get("book", 1) > 1
    # A reason names the bound, which a FAIL far above it shows nowhere else. Another version may word it otherwise.
    worded_alike = record["environment"].get("kgate") == __version__ and gate["look"] is not None and not withheld
    left_out = (*(() if worded_alike else ("reason",)), *(() if seeds_known else _RESAMPLED))
    for name in left_out:
        said.pop(name, None)
        rule.pop(name, None)
    yield from differences(path, said, rule)
    if bool(gate["reason"]) is (gate["verdict"] == "PASS"):
        yield f"{path} is {gate['verdict']} {'for a reason' if gate['reason'] else 'without a reason'}"
