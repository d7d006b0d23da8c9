"""Write a recorded search space, as Kernel Tuner keeps it, in few bytes: knobs, constraints, a time for each candidate.

    cd benchmarks/simulated/recorded
    python convert.py convolution A100.json.gz convolution-a100.json "NVIDIA A100"

The caches are those of https://github.com/AutoTuningAssociation/benchmark_hub (MIT licence,
DOI 10.5281/zenodo.15364124), its constraints those of `kernels/*.json` there. Every candidate that they allow was run
32 times, and its mean is kept to five digits. What is macro here is our choice: the knobs that switch parts of the
kernel on.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT)]

from pytest_kgate.search.course.simulation.recorded import SCHEMA  # noqa: E402
from pytest_kgate.search.course.simulation.recorded import VERSION  # noqa: E402
from pytest_kgate.search.space.configuration import Configuration  # noqa: E402
from pytest_kgate.search.space.space import Space  # noqa: E402

KERNELS: dict[str, dict[str, Any]] = {
    "convolution": {
        "macro": ("read_only", "use_padding", "use_shmem"),
        "where": [
            "use_padding == 0 or block_size_x % 32 != 0",
            "block_size_x * block_size_y <= 1024",
            "use_padding == 0 or use_shmem != 0",
            "use_shmem == 0 or (block_size_x * tile_size_x + filter_width - 1)"
            " * (block_size_y * tile_size_y + filter_height - 1) < 12 * 1024",
        ],
    },
    "dedispersion": {
        "macro": ("tile_stride_x", "tile_stride_y"),
        "where": [
            "32 <= block_size_x * block_size_y <= 1024",
            "tile_size_x > 1 or tile_stride_x == 0",
            "tile_size_y > 1 or tile_stride_y == 0",
        ],
    },
}


def main(kernel: str, cache: str, out: str, device: str) -> None:
    """Read the cache, hold it to the constraints, write the file."""
    content = json.loads(gzip.decompress(Path(cache).read_bytes()))
    values = {name: known for name, known in content["tune_params"].items() if len(known) > 1}
    facts = {name: known[0] for name, known in content["tune_params"].items() if len(known) == 1}
    macro = {name: values[name] for name in KERNELS[kernel]["macro"]}
    micro = {name: known for name, known in values.items() if name not in macro}
    where = KERNELS[kernel]["where"]
    space = Space(macro, micro, tuple(where), facts)
    times = {}
    for one in content["cache"].values():
        time = one["time"]
        knobs = Configuration.of({name: one[name] for name in values})
        times[knobs] = f"{time:.5g}" if isinstance(time, (int, float)) else "x"
    assert set(times) == set(space), "the constraints are not those of the recording"
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "title": f"{kernel}, {device}",
        "source": "https://github.com/AutoTuningAssociation/benchmark_hub at 8eeb99e, "
        f"cachefiles/{kernel}_milo/{Path(cache).name}; MIT licence; DOI 10.5281/zenodo.15364124",
        "macro": macro,
        "micro": micro,
        "where": where,
        "facts": facts,
    }
    told = [times[one] for one in space]
    rows = [" ".join(told[start : start + 200]) for start in range(0, len(told), 200)]
    head = json.dumps(document, indent=1)[:-2]
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    Path(out).write_text(f'{head},\n "milliseconds": [\n  {lines}\n ]\n}}\n', encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
