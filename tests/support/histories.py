"""Made-up lines of a history."""

from __future__ import annotations

import datetime
import math
import random
from typing import Any

from pytest_kgate.report.together.history.point import Point

START = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
"""Of the first session; there is one every nine hours."""


def point(number: int, ratio: float = 0.655, *, noise: float = 0.004, **facts: Any) -> Point:
    """The gate of one session."""
    rng = random.Random(f"{number} {facts.get('test')}")
    found = ratio * math.exp(rng.gauss(0, noise))
    width = rng.uniform(0.003, 0.012)
    started = START + datetime.timedelta(hours=9 * number)
    return Point(
        **{
            "test": "tests/perf/test_attention.py::test_latency[1x8x512x64]",
            "call": 0,
            "gate": 0,
            "problem": "sdpa 1x8x512x64 float16",
            "dtype": "float16",
            "shape": (1, 8, 512, 64),
            "candidate": "latency",
            "implementation": "latency",
            "source_hash": "ab" * 32,
            "reference": "sdpa cudnn",
            "commit": f"{rng.getrandbits(160):040x}",
            "dirty": False,
            "started": started.isoformat(),
            "verdict": "PASS",
            "bound": 0.95,
            "quantile": 0.5,
            "low": found * (1 - width),
            "ratio": found,
            "high": found * (1 + width),
            "candidate_seconds": found * 12.4e-6,
            "reference_seconds": 12.4e-6,
            "log_ratios": tuple(round(math.log(found) + rng.gauss(0, 0.008), 6) for _ in range(24)),
            "device": "cuda",
            "gpu": "NVIDIA H200",
            "uuid": "GPU-1234abcd-9999",
            "driver": "570.1",
            "cuda": "12.8",
            "torch": "2.9.0",
            "timer": "graph",
            "cache": "hot",
            "digest": f"{rng.getrandbits(128):032x}",
            **facts,
        }
    )
