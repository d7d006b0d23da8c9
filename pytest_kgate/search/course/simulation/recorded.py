"""Search spaces of real kernels in which every candidate was timed, read from files.

`benchmarks/simulated/recorded/convert.py` writes them, and says where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.system import json_file

SCHEMA = "pytest-kgate/recorded-space"
VERSION = 1

_FAILED = "x"


@dataclass(frozen=True)
class Recorded:
    """A space, and how long each of its candidates took."""

    name: str
    """Of its file."""
    title: str
    source: str
    """Where the recording is from."""
    space: Space
    seconds: Mapping[Configuration, float]
    """Mean latency; infinite where the candidate could not be built or run."""

    def truth(self) -> Mapping[Configuration, float]:
        """Log ratios to the default, or to the slowest where that fails."""
        known = [found for found in self.seconds.values() if math.isfinite(found)]
        reference = self.seconds[self.space.default]
        reference = reference if math.isfinite(reference) else max(known)
        return {one: math.log(found / reference) for one, found in self.seconds.items()}

    def performance(self, configuration: Configuration) -> float:
        """Latency of the best of all over that of this one: 1 for the best."""
        return min(self.seconds.values()) / self.seconds[configuration]


def load(path: Path) -> Recorded:
    """Read a file that `convert.py` wrote; UsageError where it is none."""
    todo = "benchmarks/simulated/recorded has such files."
    found = json_file.load(path, SCHEMA, VERSION, what="recorded search space", todo=todo)
    macro, micro = ({name: tuple(values) for name, values in found[part].items()} for part in ("macro", "micro"))
    space = Space(macro, micro, tuple(found["where"]), found["facts"])
    words = " ".join(found["milliseconds"]).split()
    seconds = (math.inf if word == _FAILED else 1e-3 * float(word) for word in words)
    return Recorded(path.stem, found["title"], found["source"], space, dict(zip(space, seconds, strict=True)))
