"""How long `kgate history` takes for a history of 10,000 lines: all series in a line each, and one at length.

    python benchmarks/seconds/history.py [--lines 10000] [--tests 50]

The lines are made up, of 24 rounds each. The seconds are those of the whole command, from Python's start on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from histories import point  # noqa: E402

from pytest_kgate.report.together.history.store import append  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--tests", type=int, default=50)
    options = parser.parse_args()
    sessions = options.lines // options.tests
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.jsonl")
        lines = [
            point(number, 0.655 if number < sessions / 2 else 0.612, test=f"tests/test_it.py::test_it[{test}]").line()
            for number in range(sessions)
            for test in range(options.tests)
        ]
        append(path, "".join(lines).encode())
        size = path.stat().st_size / 1e6
        for words in ([], ["test_it[7]"]):
            seconds, cpu = min(_timed([str(path), *words]) for _ in range(3))
            what = "one series at length" if words else f"{options.tests} series"
            print(f"{len(lines)} lines, {size:.1f} MB, {what}: {seconds:.2f} s, {cpu:.2f} s of CPU")


def _timed(words: list[str]) -> tuple[float, float]:
    start, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-m", "pytest_kgate.cli", "history", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    main()
