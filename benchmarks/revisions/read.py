"""What races against other revisions came to: verdicts, and how ratios differ within processes and between them."""

from __future__ import annotations

import math
import statistics
import sys
from collections import Counter

from pytest_kgate.report.record.document import load


def main(paths: list[str]) -> None:
    """One line for all files of one revision: each file is the records of one process."""
    by_revision: dict[str, list[list[float]]] = {}
    verdicts: dict[str, Counter[str]] = {}
    for path in paths:
        found: dict[str, list[float]] = {}
        for record in load(path):
            if "against" not in record:
                continue
            revision = record["against"]["revision"]
            verdicts.setdefault(revision, Counter())[record["verdict"]] += 1
            ratios = [gate["ratio"] for gate in record["gates"] if gate["ratio"] is not None]
            found.setdefault(revision, []).extend(math.log(float(one["estimate"])) for one in ratios)
        for revision, logs in found.items():
            by_revision.setdefault(revision, []).append(logs)
    for revision, processes in by_revision.items():
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts[revision].items()))
        logs = [one for process in processes for one in process]
        within = [statistics.stdev(process) for process in processes if len(process) > 1]
        means = [statistics.fmean(process) for process in processes if process]
        print(
            f"{revision}: {told}; ratio {math.exp(statistics.fmean(logs)):.4f} in {len(logs)} gates" if logs else told
        )
        if within:
            print(f"  gates of one process differ by {100 * statistics.fmean(within):.2f} % (standard deviation)")
        if len(means) > 1:
            print(f"  {len(means)} processes differ by {100 * statistics.stdev(means):.2f} % (standard deviation)")


main(sys.argv[1:])
