"""Searches on a GPU whose results are known otherwise, for `benchmarks/`: what they find, and what it costs.

    python benchmarks/search/searches.py mma out      # the whole grid, then a search of 32 evaluations; 5 minutes
    python benchmarks/search/searches.py triton out   # 3 minutes
    python benchmarks/search/searches.py itself out   # five searches among eight names of one kernel; 7 minutes
    python benchmarks/search/searches.py itself out 2  # the second of them alone

Journals and a summary are written to the folder. The exit status is 1 where a search did not come within 1 % of the
best of its grid, or where one found something faster than itself.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_kgate.search.board.said import champion_of
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.policy.trial import Trial

HERE = Path(__file__).parent.relative_to(Path.cwd())

WITHIN = 0.01
"""Of the best of the whole grid."""


def search(test: str, journal: Path, *more: str) -> dict[str, Any]:
    """Run one search, and return what it came to and what it took."""
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest_kgate.cli", "search", f"{HERE}/test_spaces.py::{test}"]
    done = subprocess.run([*command, f"--journal={journal}", *more], check=False, text=True, stdout=subprocess.PIPE)
    wall = time.monotonic() - start
    print(done.stdout, flush=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"kgate search ended with status {done.returncode}")
    events = read(journal)
    history = History.of(events)
    trials, champion = history.trials(), champion_of(history)
    return {
        "journal": journal.name,
        "arguments": list(more),
        "wall_seconds": round(wall, 1),
        "candidates": len(trials),
        "states": {state: sum(one.state == state for one in trials) for state in {one.state for one in trials}},
        "processes": sum(event["event"] == "started" for event in events),
        "build_seconds": round(sum(one.seconds.get("build", 0.0) for one in trials), 1),
        "device_seconds": round(sum(_on_device(one) for one in trials), 1),
        "best_estimate": _best(trials),
        "champion": None if champion is None else champion.configuration.as_dict(),
        "ratios": None if champion is None else dict(champion.ratios),
        "alpha_spent": history.alpha_spent,
    }


def _on_device(trial: Trial) -> float:
    return trial.seconds.get("check", 0.0) + trial.seconds.get("race", 0.0)


def _best(trials: Sequence[Trial]) -> float | None:
    raced = [one.objective.log_ratio for one in trials if one.objective is not None]
    return math.exp(min(raced)) if raced else None


def mma(out: Path, _: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """The grid tells what there is to be found; the search must find what is within 1 % of it."""
    whole = search("test_mma", out / "mma-grid.jsonl", "--strategy=grid", "--budget=10m", "--seed=1")
    part = search("test_mma", out / "mma-evolve.jsonl", "--strategy=evolve", "--evaluations=32", "--seed=2")
    known = {
        one.configuration: one.objective.log_ratio
        for one in History.of(read(out / "mma-grid.jsonl")).trials()
        if one.objective is not None
    }
    champion = champion_of(History.of(read(out / "mma-evolve.jsonl")))
    if champion is None or champion.configuration not in known:
        return [whole, part], False
    # Both estimates are of the grid's own races, so that the search's luck is in neither.
    part["behind_the_best_of_the_grid"] = math.expm1(known[champion.configuration] - min(known.values()))
    return [whole, part], part["behind_the_best_of_the_grid"] <= WITHIN


def triton(out: Path, _: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Candidates that no compiler of ours builds, from the first values of their knobs."""
    found = search("test_triton", out / "triton.jsonl", "--evaluations=40", "--seed=3", "--budget=4m")
    return [found], found["champion"] is not None


def itself(out: Path, numbers: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Nothing is faster than itself."""
    found = [search("test_itself", out / f"itself-{number}.jsonl", f"--seed={number}") for number in numbers or "12345"]
    return found, all(one["champion"] is None for one in found)


def main(name: str, out: Path, *numbers: str) -> int:
    """Run one of the three, or searches of one by their numbers, write its summary, and return the exit status."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{name}*"):
        old.unlink()
    found, well = {"mma": mma, "triton": triton, "itself": itself}[name](out, numbers)
    champions = Path("kgate-champions.json")
    if champions.is_file():
        (out / f"{name}-champions.json").write_text(champions.read_text())
    (out / f"{name}-summary.json").write_text(json.dumps({"well": well, "searches": found}, indent=1) + "\n")
    print(json.dumps(found, indent=1), "well" if well else "NOT AS IT SHOULD BE", sep="\n")
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
