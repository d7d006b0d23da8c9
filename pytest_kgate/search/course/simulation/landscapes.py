"""Made-up spaces with known latencies: candidates that are all equal, and one that looks like kernels' spaces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

SPACE = Space(
    {"BLOCK_M": (32, 64), "BLOCK_N": (32, 64), "PERSISTENT": (0, 1), "NUM_PRODUCER_WARPS": (0, 1)},
    {"STAGES": (2, 3), "PAD": (0, 8), "USE_FAST_EXP": (0, 1)},
)
"""Seven knobs of two values, 128 configurations."""

_EFFECTS = (0.15, 0.1, 0.05, 0.02, 0.02, 0.01, 0.005)
"""Standard deviation of what each knob does to the log latency: few knobs matter much, most a little."""

_INTERACTION = 0.2
"""Of two knobs together, as a share of the geometric mean of their effects."""

UNBUILDABLE = 0.15


def equal() -> Mapping[Configuration, float]:
    """Log ratios of candidates that are all as fast as the reference: whatever is claimed is false."""
    return dict.fromkeys(SPACE, 0.0)


def kernels(seed: int) -> Mapping[Configuration, float]:
    """Log ratios with effects and interactions by chance; infinite for the 15 % that can't be built, by chance too."""
    rng = np.random.default_rng(seed)
    configurations = list(SPACE)
    places = np.array(
        [[SPACE.values(name).index(one.as_dict()[name]) for name in SPACE.names] for one in configurations]
    )
    signs = 2.0 * places - 1
    effects = np.array(_EFFECTS)
    logs = signs @ (rng.standard_normal(len(effects)) * effects / 2)
    for one, other in itertools.combinations(range(len(effects)), 2):
        size = _INTERACTION * math.sqrt(effects[one] * effects[other]) / 2
        logs += signs[:, one] * signs[:, other] * size * rng.standard_normal()
    logs[rng.random(len(logs)) < UNBUILDABLE] = math.inf
    return dict(zip(configurations, logs.tolist(), strict=True))
