"""Records of races, as far as a search reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_kgate.report.record.samples import encode_samples


def record(ratio: float = 0.8, test: str = "t.py::test_it[1x2]", verdict: str = "MEASURED", **more: Any) -> Any:
    """As far as a search reads it: twelve rounds of five samples, a candidate of this ratio with 1 % noise."""
    noise = np.random.default_rng(7).normal(0, 0.01, (12, 5))
    timing = {
        "candidate": {"samples": encode_samples(1e-5 * ratio * np.exp(noise))},
        "reference": {"samples": encode_samples(np.full((12, 5), 1e-5))},
        "tick_seconds": 1e-9,
        "rounds": 12,
    }
    resources = [{"registers": 64, "shared_bytes": 1024, "spill_bytes": 0}, {"registers": 40, "shared_bytes": 4096}]
    made = {"test": test, "call": 0, "verdict": verdict, "reason": "", "timing": timing, "gates": []}
    made |= {"candidate": {"resources": resources}, "integrity": None}
    return {**made, "seconds": {"lease": 9.0, "check": 1.0, "timed": 2.0}, **more}
