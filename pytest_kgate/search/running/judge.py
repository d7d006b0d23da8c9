"""How a search asks its tests: the command lines of `kgate evaluate` for each of its stages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.search.running.child.order import FILES
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import spell

_CANDIDATES = "candidates.json"

_START_SECONDS = 60.0
"""That a process may take for its start, beside its share of the limit."""


@dataclass(frozen=True)
class Judge:
    """The tests that judge a search's candidates, and how pytest is started for them."""

    test: str
    """A node id, as pytest takes it; without brackets all of a test's shapes."""
    folder: str
    """The current folder of pytest."""
    arguments: tuple[str, ...] = ()
    """More of them for pytest, such as `--kgate-device=host`."""
    limit_seconds: float = 300.0
    """Of the time of one candidate."""

    def build(self) -> Order:
        """The order to build the source's defaults, by which is seen what the test asks for."""
        return self._order(("--until=build",), (), self.limit_seconds)

    def screen(self, configuration: Configuration, rounds: int) -> Order:
        """The order to check one candidate and race it in so many rounds."""
        return self._order((f"--rounds={rounds}",), knobs_of(configuration), self.limit_seconds)

    def group(self, configurations: Sequence[Configuration], rounds: int) -> Order:
        """The order to screen several in one process, within the time of one: most of that is the process's start."""
        return self._joint(configurations, rounds, self.limit_seconds)

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> Order:
        """The order to check several and race them in the same rounds."""
        return self._joint(configurations, rounds, self.limit_seconds * len(configurations))

    def _joint(self, configurations: Sequence[Configuration], rounds: int, limit_seconds: float) -> Order:
        listed = json.dumps([one.as_dict() for one in configurations])
        return self._order(
            (f"--rounds={rounds}",),
            (f"--kgate-joint={FILES}/{_CANDIDATES}",),
            limit_seconds,
            ((_CANDIDATES, listed),),
        )

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Order:
        """The order to judge one by the tests' own gates, at this one-sided error rate, on new processes and seeds.

        The seed is given, since one of the user's environment would be that of the search, too.
        """
        fresh = (
            f"--kgate-confidence={1 - 2 * alpha:.15g}",
            f"--kgate-processes={processes}",
            f"--kgate-seed={secrets.randbits(62)}",
        )
        limit = (processes + 1) * (self.limit_seconds + _START_SECONDS)
        return self._order((), (*knobs_of(configuration), *fresh), limit)

    def _order(
        self,
        own: tuple[str, ...],
        for_pytest: tuple[str, ...],
        limit_seconds: float,
        files: tuple[tuple[str, str], ...] = (),
    ) -> Order:
        passed_on = (f"--pytest={one}" for one in (*self.arguments, *for_pytest))
        return Order((f"--test={self.test}", *own, *passed_on), self.folder, limit_seconds, files)


def knobs_of(configuration: Configuration) -> tuple[str, ...]:
    """The options that set the knobs of one run."""
    return tuple(f"--kgate-knob={name}={spell(value)}" for name, value in configuration.knobs)
