"""What a gate costs with another version of this package and with this one, in process and isolated, in turn.

    python benchmarks/seconds/before_and_after.py --before CHECKOUT --json FILE [--device cuda] [--repeat 10]

`CHECKOUT` is a folder with another version, such as one that `git worktree add FOLDER REVISION` makes. Each session
has twelve gates of PyTorch's attention, against the same eight times, and twelve of a shipped kernel, in turn. All
but the first of each are counted: a session's first gate of a kind starts what the others use, and is told beside
them. Seconds are those of the call of `kbench`, less its wait for another session's gates; CPU seconds are those of
its process and of all that it started, the candidate's and the clean process among them. Sessions take turns, so that
what else the machine does is in both. Gates that take more than their first 12 rounds are left out. Takes about ten
minutes, longer on a busy machine.

Before and behind each gate a fixed piece of Python is timed, the pace of the CPU at that moment, for a shared machine
may give a process half of what it gave before. Medians are told of all gates, and of those before and behind which the
pace was within 15 % of the best of the whole run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]

SLOWED = 1.15
"""Times the best pace: a gate that begins or ends at a slower one says more of the machine than of the code."""

CANDIDATE = """
import torch.nn.functional as F


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)
"""

TEST = """
import dataclasses
import json
import os
import time
from pathlib import Path

import pytest
import torch
from pytest_kgate import Shape

torch.set_num_threads(1)
TICK = os.sysconf("SC_CLK_TCK")


def slowly(reference):
    def eight_times(*inputs, **params):
        for _ in range(7):
            reference(*inputs, **params)
        return reference(*inputs, **params)
    return eight_times


def pace_seconds():
    '''Of the same piece of Python each time, some 10 ms.'''
    start, total = time.perf_counter(), 0
    for number in range(200_000):
        total += number * number
    return time.perf_counter() - start


def cpu_seconds():
    '''Of this process, of its children that have ended, and of all below it that live.'''
    rows = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            rows[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15])) / TICK
    found, ours = 0.0, {os.getpid()}
    while True:
        below = {pid for pid, (parent, _) in rows.items() if parent in ours} | ours
        if below == ours:
            return sum(rows[pid][1] for pid in ours if pid in rows)
        ours = below


@pytest.mark.perf
@pytest.mark.speedup(0.8)
@pytest.mark.parametrize("name", ["generated", "shipped"])
@pytest.mark.parametrize("again", range(12))
def test_attention(kbench, sdpa_oracle, kernels, kgate_device, name, again):
    host = kgate_device.kind == "host"
    shape = Shape(1, 4, 128, 64) if host else Shape(1, 8, 512, 64)
    problem = sdpa_oracle(shape, dtype="float32" if host else "float16", backend="flash")
    problem = dataclasses.replace(problem, reference=slowly(problem.reference["flash"]))
    if name == "shipped":
        candidate = kernels("host" if host else "latency")
    elif os.environ["ISOLATED"] == "1":
        candidate = "generated.py:attention"
    else:
        import generated
        candidate = generated.attention
    pace = pace_seconds()
    before, start = cpu_seconds(), time.perf_counter()
    try:
        kbench(candidate, problem)
    finally:
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - before
        with open("seconds.jsonl", "a") as file:
            measured = {"seconds": seconds, "cpu_seconds": cpu, "pace_seconds": max(pace, pace_seconds())}
            print(json.dumps({"kernel": name, "again": again, **measured}), file=file)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, default=HERE)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--device", default="host")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--only", choices=("in-process", "isolated"), help="default: both")
    parser.add_argument("--commits", nargs=2, metavar=("BEFORE", "AFTER"), help="of folders that have no history")
    options = parser.parse_args()
    versions = {"before": options.before.resolve(), "after": options.after.resolve()}
    commits = options.commits or [_revision(path) for path in versions.values()]
    revisions = dict(zip(versions, commits, strict=True))
    ways = (False, True) if options.only is None else (options.only == "isolated",)
    gates: list[dict[str, Any]] = []
    for turn in range(options.repeat):
        for isolated in ways:
            for version in ("before", "after") if turn % 2 == 0 else ("after", "before"):
                for gate in _session(versions[version], options.device, isolated):
                    gates.append({"version": version, "isolated": isolated, **gate})
        found = {
            "device": options.device,
            "revisions": revisions,
            "medians": [*_medians(gates, slowed=True), *_medians(gates, slowed=False)],
            "gates": gates,
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    for row in found["medians"]:
        where = "isolated" if row["isolated"] else "in process"
        which = "all" if row["slowed"] else "at full pace"
        print(
            f"{row['kernel']:10} {where:10} {row['what']:11} {row['before']:.3f} -> {row['after']:.3f} s, "
            f"{row['times']:.2f} times; gates {row['gates']['before']} and {row['gates']['after']}, {which}"
        )


def _session(version: Path, device: str, isolated: bool) -> list[dict[str, Any]]:
    """The gates of one session, with their verdicts."""
    with tempfile.TemporaryDirectory(prefix="kgate-seconds-") as folder:
        for name, text in (("generated.py", CANDIDATE), ("test_seconds.py", TEST), ("pytest.ini", "[pytest]\n")):
            Path(folder, name).write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--kgate-device={device}"]
        command.append("--kgate-json=records.json")
        environment = {**os.environ, "PYTHONPATH": str(version), "ISOLATED": str(int(isolated))}
        environment["KGATE_FOREIGN_LOAD"] = "warn"  # an older version may not have the option
        run = subprocess.run(
            [*command, *(["--kgate-isolate"] if isolated else [])],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if not Path(folder, "seconds.jsonl").exists():
            raise SystemExit(run.stdout[-4000:] + run.stderr[-4000:])
        gates = [json.loads(line) for line in Path(folder, "seconds.jsonl").read_text().splitlines()]
        records = json.loads(Path(folder, "records.json").read_text())["records"]
    for gate, record in zip(gates, records, strict=True):
        gate |= {"verdict": record["verdict"], "rounds": (record.get("timing") or {}).get("rounds")}
        gate["purposes"] = record.get("seconds") or {}
        gate["seconds"] -= gate["purposes"].get("lease", 0.0)
        print(gate | {"purposes": None}, version.name, "isolated" if isolated else "", flush=True)
    return gates


def _medians(gates: list[dict[str, Any]], *, slowed: bool) -> list[dict[str, Any]]:
    """Of gates that passed after their first 12 rounds, by kernel, way and kind of seconds.

    `slowed`: also of those that began or ended while the CPU was slow.
    """
    slowest = math.inf if slowed else SLOWED * min(one["pace_seconds"] for one in gates)
    taken = [one for one in gates if (one["verdict"], one["rounds"]) == ("PASS", 12) and one["pace_seconds"] <= slowest]
    rows = []
    for kernel, isolated in sorted({(one["kernel"], one["isolated"]) for one in gates}):
        for what in ("seconds", "cpu_seconds", "pace_seconds"):
            of = {
                (version, first): [
                    one[what]
                    for one in taken
                    if (one["kernel"], one["isolated"]) == (kernel, isolated)
                    and (one["version"], one["again"] == 0) == (version, first)
                ]
                for version in ("before", "after")
                for first in (True, False)
            }
            if not (of["before", False] and of["after", False]):
                continue
            before, after = (statistics.median(of[version, False]) for version in ("before", "after"))
            rows.append(
                {
                    "kernel": kernel,
                    "isolated": isolated,
                    "what": what,
                    "slowed": slowed,
                    "before": before,
                    "after": after,
                    "times": after / before,
                    "first": {
                        version: statistics.median(of[version, True])
                        for version in ("before", "after")
                        if of[version, True]
                    },
                    "gates": {version: len(of[version, False]) for version in ("before", "after")},
                }
            )
    return rows


def _revision(path: Path) -> str:
    """The commit of a checkout, without the history that it lies in."""
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=path, capture_output=True, text=True, check=True)
    return run.stdout.strip()


if __name__ == "__main__":
    main()
