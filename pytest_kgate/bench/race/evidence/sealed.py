"""The rounds of a race so far, whose samples nobody can change unnoticed while it goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from pytest_kgate.device.protocol import Round
from pytest_kgate.errors import TimingError


class Sealed:
    """Keeps rounds; a digest of their samples is taken as each of them comes."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self._seal = hashlib.blake2b()

    def add(self, latest: Round) -> None:
        """Keep a round: its samples in memory that can't be written to, and without its answers, which are large."""
        seconds = np.frombuffer(latest.seconds.tobytes(), dtype=latest.seconds.dtype).reshape(latest.seconds.shape)
        self.rounds.append(replace(latest, seconds=seconds, probe=None))
        self._seal.update(seconds.tobytes())

    def demand_unchanged(self) -> None:
        """Raise `TimingError` where samples are not what they were."""
        now = hashlib.blake2b()
        for one in self.rounds:
            now.update(one.seconds.tobytes())
        if now.digest() != self._seal.digest():
            raise TimingError(
                "The samples of earlier rounds were changed while the race went on.",
                "Code that runs in this process has done that; judge it with --kgate-isolate.",
            )
