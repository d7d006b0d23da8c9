"""What a page of many records costs: `python tests/support/page_benchmark.py 500 10000`, from committed GPU records.

Each size is measured in a process of its own, from the start of Python to the page on disk, as `kgate report` is run.
"""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples

RECORDS = Path(__file__).parents[2] / "benchmarks" / "h100" / "perf-evening-2026-11-27.json"


def repeated(measured: list[Record], count: int, seed: int = 1) -> Iterator[Record]:
    """So many records, as if these had been measured again and again: parts that are alike take no room in a page."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        record = copy.deepcopy(measured[index % len(measured)])
        record["started"] = f"2026-01-01T00:00:00.{index:06d}+00:00"
        for arm in ("candidate", "reference"):
            samples = decode_samples(record["timing"][arm]["samples"])
            record["timing"][arm] = arm_facts(samples * np.exp(0.003 * rng.standard_normal(samples.shape)))
        for draw in record["correctness"]["draws"]:
            for name, value in draw.items():
                draw[name] = value * float(rng.uniform(0.9, 1.1)) if isinstance(value, float) else value
        for gate in record["gates"]:
            gate["ratio"] |= {
                name: gate["ratio"][name] * float(rng.uniform(0.99, 1.01)) for name in ("low", "estimate")
            }
        record["seeds"] |= {name: f"{rng.integers(1 << 62):032x}" for name in ("session", "race")}
        yield record


def main(counts: list[int]) -> None:
    """Print a row for each number of records."""
    measured = [record for record in load(RECORDS) if record["timing"] is not None]
    print("records  file MB  page MB  seconds  CPU seconds  memory MB")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            file, page = Path(folder) / "records.json", Path(folder) / "page.html"
            file.write_text(json.dumps(document(repeated(measured, count))))
            command = [sys.executable, "-m", "pytest_kgate.cli", "report", file, "--format", "html", "--output", page]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begun = time.monotonic()
            subprocess.run(command, check=True)
            seconds = time.monotonic() - begun
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            sizes = [path.stat().st_size / 1e6 for path in (file, page)]
            cells = (
                *(f"{size:7.2f}" for size in sizes),
                f"{seconds:7.1f}",
                f"{cpu:11.1f}",
                f"{used.ru_maxrss / 1e3:9.0f}",
            )
            print(f"{count:7d}", *cells, sep="  ")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [500, 10_000])
