"""KernelBench's published problems through the gate, one after the other, resumable; one line of facts each.

    python benchmarks/kernelbench/sweep.py FOLDER --json facts.jsonl [--part copy,weight] [--level 1,2] [--seconds 520]

FOLDER holds level1, level2 and level3 of github.com/ScalingIntelligence/KernelBench, which is not part of this project.
What has a line in the file of facts is not run again, unless --again names its outcome. Each trial is a call in a
process that goes from trial to trial; one that dies or hangs costs its trial only.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trial import PARTS

TRIAL = Path(__file__).with_name("trial.py")

FINISHED_BY = 5.0
"""Seconds before the end at which no further trial begins."""


def main() -> None:
    options = _options()
    known = _read(options.json)
    done = {_key(one) for one in known if one["outcome"] not in options.again.split(",")}
    trials = [one for one in _trials(options) if _key(one) not in done]
    print(f"{len(trials)} trials to run, {len(done)} known", file=sys.stderr)
    end, child = time.monotonic() + options.seconds, None
    try:
        for trial in trials:
            if time.monotonic() > end - FINISHED_BY:
                break
            child = child or _start(options)
            found = _answer(child, trial, min(options.limit, end - time.monotonic()))
            if "outcome" not in found:  # the process has died, or was ended
                child.kill()
                child.wait()
                child = None
                if time.monotonic() > end - FINISHED_BY and found["died"] == "no answer in time":
                    break  # the batch ended, not the trial's own limit
                found = {**trial, "outcome": "DIED", "reason": found["died"]}
            _write(options.json, found)
            print(_line(found), file=sys.stderr, flush=True)
    finally:
        if child is not None:
            child.stdin.close()
            child.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="one line of facts for each trial")
    parser.add_argument("--part", default="copy", metavar="PART[,PART...]", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--level", default="1,2,3", metavar="N[,N...]")
    parser.add_argument("--match", default="", metavar="REGEX", help="only problems whose file name has it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th problem")
    parser.add_argument("--fits", type=float, metavar="GB", help="only where four times inputs and outputs are less")
    parser.add_argument("--gflop", type=float, metavar="N", help="only where products and convolutions take no more")
    parser.add_argument("--scale", type=int, default=0, metavar="N", help="sizes at most about N; 0: as published")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--budget", type=float, default=5.0, metavar="SECONDS", help="of a race")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="of a trial")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no trial after so many")
    parser.add_argument("--again", default="", metavar="OUTCOME[,OUTCOME...]", help="run trials with these again")
    return parser.parse_args()


def _trials(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for part in options.part.split(","):
        if part not in PARTS:
            raise SystemExit(f"There is no part {part}: choose of {', '.join(PARTS)}.")
        for problem in problems_of(options.folder, options.level, options.match, options.every):
            if _suits(options.folder / f"{problem}.py", options.fits, options.gflop):
                yield {"problem": problem, "part": part, "scale": options.scale}


def problems_of(folder: Path, levels: str, match: str, every: int) -> Iterator[str]:
    """Every so many problems of these levels by number, such as `level1/19_ReLU`, where the file's name has `match`."""
    for level in levels.split(","):
        files = sorted((folder / f"level{level}").glob("*.py"), key=lambda path: int(path.stem.split("_")[0]))
        for path in files[::every]:
            if re.search(match, path.stem):
                yield f"level{level}/{path.stem}"


@functools.cache
def _suits(path: Path, most_gb: float | None, most_gflop: float | None) -> bool:
    """Whether a problem is small enough, as far as that is asked; one of which it is not known is not."""
    if most_gb is None and most_gflop is None:
        return True
    from dry_run import needs_of  # imports torch

    needs = needs_of(path)
    if needs is None:
        return False
    return 4e-9 * needs.size_bytes < (most_gb or math.inf) and needs.gflop <= (most_gflop or math.inf)


def _start(options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, str(TRIAL), str(options.folder), options.device, str(options.budget)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def _answer(child: subprocess.Popen[str], trial: dict[str, Any], seconds: float) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(trial) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        return {"died": f"its process had ended with status {child.wait()}"}
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    if not ready:
        return {"died": "no answer in time"}
    line = child.stdout.readline()
    return json.loads(line) if line else {"died": f"its process ended with status {child.wait()}"}


def _key(one: dict[str, Any]) -> tuple[str, str, int]:
    return one["problem"], one["part"], one["scale"]


def _read(path: Path) -> list[dict[str, Any]]:
    """The last line of each trial."""
    lines = path.read_text().splitlines() if path.exists() else []
    return list({_key(one): one for one in map(json.loads, lines)}.values())


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(found) + "\n")


def _line(one: dict[str, Any]) -> str:
    gates = " ".join(f"{bound}:{verdict}" for bound, verdict in one.get("gates", {}).items())
    seconds = f"{one['seconds']:5.1f} s" if "seconds" in one else ""
    return (
        f"{one['problem'][:60]:60} {one['part']:10} {one['outcome']:12} {gates} {seconds} {one.get('reason', '')[:110]}"
    )


if __name__ == "__main__":
    main()
