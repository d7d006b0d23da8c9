"""What races against other revisions came to: verdicts, and how ratios differ within processes and between them."""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes

GROUPS = 20
"""Gates of several processes that are judged of the races at hand, each over PROCESSES of them, drawn with SEED."""

PROCESSES = 5
SEED = 0


@dataclass
class Found:
    """Of the races against one revision."""

    verdicts: Counter[str] = field(default_factory=Counter)
    logs: list[list[float]] = field(default_factory=list)
    """Log ratios, by process."""
    without_one: int = 0
    """Intervals that do not hold 1."""
    first: list[tuple[Mapping[str, object], float]] = field(default_factory=list)
    """Of each process, the timing of its first race, and its bound."""


def main(paths: list[str]) -> None:
    """Some lines for all files of one revision: each file is the records of one process."""
    by_revision: dict[str, Found] = {}
    for path in paths:
        logs: dict[str, list[float]] = {}
        for record in load(path):
            if "against" not in record:
                continue
            revision = record["against"]["revision"]
            found = by_revision.setdefault(revision, Found())
            found.verdicts[record["verdict"]] += 1
            for gate in record["gates"]:
                if gate["ratio"] is not None:
                    if revision not in logs:
                        found.first.append((record["timing"], float(gate["bound"])))
                    logs.setdefault(revision, []).append(math.log(float(gate["ratio"]["estimate"])))
                    found.without_one += not float(gate["ratio"]["low"]) <= 1 <= float(gate["ratio"]["high"])
        for revision, several in logs.items():
            by_revision[revision].logs.append(several)
    for revision, found in by_revision.items():
        _tell(revision, found)


def _tell(revision: str, found: Found) -> None:
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.verdicts.items()))
    logs = [one for process in found.logs for one in process]
    if not logs:
        print(f"{revision}: {told}")
        return
    print(f"{revision}: {told}; ratio {math.exp(statistics.fmean(logs)):.4f} in {len(logs)} gates")
    print(f"  {found.without_one} of {len(logs)} 95 % intervals do not hold 1")
    within = [statistics.stdev(process) for process in found.logs if len(process) > 1]
    if within:
        print(f"  gates of one process differ by {100 * statistics.fmean(within):.2f} % (standard deviation)")
    if len(found.logs) > 1:
        means = [statistics.fmean(process) for process in found.logs]
        print(f"  {len(means)} processes differ by {100 * statistics.stdev(means):.2f} % (standard deviation)")
    if len(found.first) >= PROCESSES:
        verdicts = Counter(_verdict_of_several(found, random.Random(SEED + number)) for number in range(GROUPS))
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        print(f"  {GROUPS} gates, each over {PROCESSES} of these processes: {told}")


def _verdict_of_several(found: Found, rng: random.Random) -> str:
    chosen = rng.sample(found.first, PROCESSES)
    arms = ("candidate", "reference")
    runs = [Run(*(decode_samples(timing[arm]["samples"]) for arm in arms)) for timing, _ in chosen]
    return judge_processes(SpeedGate(chosen[0][1]), runs)[0].verdict.value


main(sys.argv[1:])
