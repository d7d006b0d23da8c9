"""Two GPUs against one: evaluations a minute; a worker killed in the middle; the driver killed, and the search resumed.

    python benchmarks/search/two_gpus.py out [NODEID]

Runs the same 12 candidates with one job and with two, kills an evaluation of a third search and then that one itself,
resumes it, and demands that no outcome is lost or counted twice. On one GPU, or on the host, all but the speed holds.
A process takes some 10 s, most of which is its start, and all of it 4 minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pytest_kgate.search.journal.file import read
from pytest_kgate.system import procfs

EVALUATIONS = 12
"""With one job those are two processes, of eight candidates and of four, and with two one for each."""

LONGEST_SECONDS = 150.0
"""For any of the searches, also for one whose candidates have a process each."""


def command(test: str, journal: Path, jobs: int, *more: str) -> list[str]:
    """A search over the same candidates each time, whose builds are there from the second on."""
    options = [
        f"--evaluations={EVALUATIONS}",
        "--strategy=random",
        "--seed=5",
        f"--jobs={jobs}",
        f"--journal={journal}",
    ]
    return [sys.executable, "-m", "pytest_kgate.cli", "search", test, *options, "--processes=1", *more]


def screened(journal: Path) -> list[dict[str, Any]]:
    """The outcomes of single candidates, in the order in which they came."""
    if not journal.is_file():
        return []
    return [dict(one) for one in read(journal) if one["event"] == "outcome" and len(one["ids"]) == 1]


def begun(journal: Path) -> bool:
    """Whether a candidate is being evaluated, or was."""
    return journal.is_file() and any(one["event"] == "started" for one in read(journal))


def run(test: str, journal: Path, jobs: int) -> dict[str, Any]:
    """One search, and its evaluations a minute from the first start to the last outcome of a single candidate."""
    start = time.monotonic()
    subprocess.run(command(test, journal, jobs), check=False, timeout=LONGEST_SECONDS)
    outcomes = screened(journal)
    began = next(one["time"] for one in read(journal) if one["event"] == "started")
    seconds = _seconds(outcomes[-1]["time"]) - _seconds(began)
    return {
        "jobs": jobs,
        "evaluations": len(outcomes),
        "seconds": round(seconds, 1),
        "a_minute": round(60 * len(outcomes) / seconds, 1),
        "wall_seconds": round(time.monotonic() - start, 1),
    }


def _seconds(time_of_event: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time_of_event).timestamp()


def evaluations_of(driver: int) -> list[int]:
    """Processes that the driver has started for evaluations."""
    found = []
    for pid, fields in procfs.processes():
        if int(fields[1]) == driver:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            found += [pid] if b"evaluate" in line else []
    return found


def killed(test: str, journal: Path, jobs: int) -> dict[str, Any]:
    """A search of which an evaluation is killed, then the driver, and which is resumed then.

    The candidates of the killed one are evaluated each by itself, so that some are left when the driver is killed.
    """
    with subprocess.Popen(command(test, journal, jobs)) as driver:
        _wait(lambda: begun(journal) and evaluations_of(driver.pid))
        os.kill(evaluations_of(driver.pid)[0], signal.SIGKILL)
        _wait(lambda: len(screened(journal)) >= 2 and evaluations_of(driver.pid))
        driver.kill()
    left = len(screened(journal))
    subprocess.run(command(test, journal, jobs, "--resume"), check=False, timeout=LONGEST_SECONDS)
    outcomes = screened(journal)
    # A crash is tried once more, and is an outcome where that crashes, too.
    finished = Counter(one["ids"][0] for one in outcomes if one["trials"][0]["state"] != "crash")
    ended = {one["ids"][0] for one in outcomes}
    started = {tuple(one["ids"]) for one in read(journal) if one["event"] == "started" and len(one["ids"]) == 1}
    return {
        "jobs": jobs,
        "outcomes_before_the_driver_was_killed": left,
        "candidates": len(ended),
        "counted_twice": sum(count > 1 for count in finished.values()),
        "lost": len(started) - len(ended),
    }


def _wait(until: Any) -> None:
    end = time.monotonic() + LONGEST_SECONDS
    while not until():
        if time.monotonic() > end:
            raise SystemExit("the search did not come so far")
        time.sleep(0.05)


def main(out: Path, test: str) -> int:
    """Returns 1 where an outcome was lost or counted twice."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("jobs-*.jsonl*"):
        old.unlink()
    subprocess.run(command(test, out / "jobs-0.jsonl", 1), check=False, timeout=LONGEST_SECONDS)  # builds all
    found = [run(test, out / f"jobs-{jobs}.jsonl", jobs) for jobs in (1, 2)]
    broken = killed(test, out / "jobs-killed.jsonl", 2)
    summary = {"speed": found, "killed": broken}
    (out / "two-gpus-summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    return 1 if broken["lost"] or broken["counted_twice"] else 0


if __name__ == "__main__":
    NODEID = sys.argv[2] if len(sys.argv) > 2 else "benchmarks/search/test_spaces.py::test_mma[1x8x512x64]"
    raise SystemExit(main(Path(sys.argv[1]), NODEID))
