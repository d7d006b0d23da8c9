"""What isolation changes: each rung's latency in process and isolated, and isolated rungs against themselves.

    python benchmarks/isolated/rungs.py --out FOLDER [--gates 100] [--equal latency,wmma,mma] [--lanes 4]

First, on the first GPU alone: every rung in process, isolated and in process again, at the mission's shape (fp8 and
decode at one that they take). Then, shared out among `--lanes` GPUs: so many isolated gates of rungs against
themselves, at a bound of 1, which may pass and fail in 2.5 % of cases each. Leaves the records in FOLDER and prints a
table of each. On an H100 about 5 minutes for the rungs, once they are built, and 7 s a gate and lane.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TESTS = HERE / "test_isolated_rungs.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gates", type=int, default=100, help="0: none against themselves; default: %(default)s")
    parser.add_argument("--equal", default="latency,wmma,mma", help="rungs raced against themselves")
    parser.add_argument("--lanes", type=int, default=1, help="GPUs that share these gates")
    parser.add_argument("--no-rungs", action="store_true", help="leave the latencies out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.no_rungs:
        _rungs(options.out)
    if options.gates:
        _equal(options.out, options.gates, options.equal, options.lanes)


def _rungs(out: Path) -> None:
    ways = {"in-process": (), "isolated": ("--kgate-isolate",), "in-process-again": ()}
    found = {}
    for way, more in ways.items():
        path = out / f"rungs-{way}.json"
        _session(path, "test_rung", *more).wait()
        found[way] = {_name(record): record for record in _records(path)}
    print("| kernel | in process | again | isolated | difference | launched by | why not by the timer's process |")
    print("| --- | ---: | ---: | ---: | ---: | --- | --- |")
    for rung, record in found["isolated"].items():
        once, again = (_microseconds(found[way].get(rung)) for way in ("in-process", "in-process-again"))
        isolated = _microseconds(record)
        off = f"{100 * (2 * isolated / (once + again) - 1):+.1f} %" if once and again and isolated else record["reason"]
        shown = (f"{one:.2f} us" if one else "" for one in (once, again, isolated))
        facts = record.get("isolation") or {}
        why = [one.partition("timed calls: ")[2] for one in record["warnings"] if "launched the timed calls" in one]
        print(f"| {rung} | {' | '.join(shown)} | {off} | {facts.get('launched_by')} | {'; '.join(why)} |")


def _equal(out: Path, gates: int, rungs: str, lanes: int) -> None:
    """So many gates a rung, in equal shares of all lanes."""
    each = -(-gates // (lanes * len(rungs.split(","))))
    paths, running = [], []
    for lane in range(lanes):
        paths.append(out / f"isolated-against-themselves-{lane}.json")
        numbers = {"KGATE_EQUAL": rungs, "KGATE_FIRST": str(lane * each), "KGATE_END": str((lane + 1) * each)}
        where = {"CUDA_VISIBLE_DEVICES": str(lane)} if lanes > 1 else {}
        running.append(_session(paths[-1], "test_equal", "--kgate-isolate", environment={**numbers, **where}))
    for one in running:
        one.wait()
    records = [record for path in paths for record in _records(path)]
    print("| against itself, isolated | gates | PASS | FAIL | others | mean ratio | from | to |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for rung in [*rungs.split(","), ""]:
        mine = [record for record in records if rung in _name(record).split("-")] if rung else records
        ratios = [one["gates"][0]["ratio"]["estimate"] for one in mine if one["gates"] and one["gates"][0]["ratio"]]
        verdicts = [one["verdict"] for one in mine]
        counts = verdicts.count("PASS"), verdicts.count("FAIL")
        others = sorted(set(verdicts) - {"PASS", "FAIL"})
        told = ", ".join(f"{verdicts.count(one)} {one}" for one in others)
        spread = f"{statistics.mean(ratios):.4f} | {min(ratios):.4f} | {max(ratios):.4f}" if ratios else " | | "
        print(f"| {rung or 'all'} | {len(mine)} | {counts[0]} | {counts[1]} | {told} | {spread} |")


def _session(path: Path, test: str, *more: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "perf", "-p", "no:cacheprovider", str(TESTS), "-k", test]
    command += [f"--kgate-json={path}", "--kgate-foreign-load=warn", *more]
    root = str(HERE.parents[1])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    with open(path.with_suffix(".txt"), "wb") as said:
        return subprocess.Popen(
            command, cwd=root, env={**os.environ, "PYTHONPATH": paths, **(environment or {})}, stdout=said, stderr=said
        )


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise SystemExit(f"no records: see {path.with_suffix('.txt')}")
    found: list[dict[str, Any]] = json.loads(path.read_text())["records"]
    return found


def _name(record: dict[str, Any]) -> str:
    """What stands in the brackets of a test's name."""
    return str(record["test"]).partition("[")[2].removesuffix("]")


def _microseconds(record: dict[str, Any] | None) -> float | None:
    timing = (record or {}).get("timing")
    return 1e6 * float(timing["candidate"]["median_seconds"]) if timing else None


if __name__ == "__main__":
    main()
