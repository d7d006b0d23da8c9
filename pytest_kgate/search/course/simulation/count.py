"""Run simulated searches and count what they come to."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from typing import TypeVar

from pytest_kgate import __version__
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.values import now
from pytest_kgate.search.course.simulation.claims import DESIGNS
from pytest_kgate.search.course.simulation.claims import Claim
from pytest_kgate.search.course.simulation.file import SCHEMA
from pytest_kgate.search.course.simulation.file import VERSION
from pytest_kgate.search.course.simulation.findings import WAYS
from pytest_kgate.search.course.simulation.findings import best_found
from pytest_kgate.search.course.simulation.findings import near
from pytest_kgate.search.course.simulation.recorded import load

_Found = TypeVar("_Found")

CONTRAST_SHARE = 4
"""Ways that promise nothing claim so often that a quarter of the searches shows it."""

NEAR_SHARE = 4
"""Of strategies, a few percent more or less are no matter."""

RECORDED_SHARE = 8
"""On a recorded space each search is several times as long."""

_ON_RECORDED = ("random", "evolve", "no-model", "tpe")

_CHUNK = 5
"""Searches that a worker process takes at once, about half a second."""


def simulate(
    only: str | None, searches: int, seed: int, spaces: Path | None, progress: Callable[[str], None], jobs: int = 1
) -> dict[str, Any]:
    """The counts of designs and strategies, all or those of a list such as `grid,evolve`, by so many processes.

    `tpe` is left out where it is not named, since it needs Optuna. UsageError at a name unknown.
    """
    start = time.monotonic()
    known = {*DESIGNS, *WAYS}
    names = known - {"tpe"} if only is None else set(only.split(","))
    if names - known:
        raise UsageError(
            f"There is no design or strategy {', '.join(sorted(names - known))}.",
            f"There are: {', '.join(dict.fromkeys([*DESIGNS, *WAYS]))}.",
        )
    document: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, "kgate": __version__, "created": now()}
    document["seed"] = seed
    # Threads of a process are not copied by spawn, hence no deadlock; each worker imports anew.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) if jobs > 1 else nullcontext() as pool:
        counter = _Counter(pool, names, range(seed, seed + searches), progress)
        document["claims"] = list(counter.claims())
        document["near"] = list(counter.near())
        document["recorded"] = [] if spaces is None else list(counter.recorded(spaces))
    document["seconds"] = round(time.monotonic() - start, 1)
    return document


def _claim(name: str, seed: int) -> Claim:
    return DESIGNS[name].run(seed)


def _near(name: str, seed: int) -> bool:
    return near(WAYS[name], seed)


def _best_found(path: Path, name: str, seed: int) -> list[float]:
    return best_found(load(path), WAYS[name], seed)


@dataclass(frozen=True)
class _Counter:
    """Runs searches in a pool, or here where there is none."""

    pool: ProcessPoolExecutor | None
    names: set[str]
    seeds: range
    progress: Callable[[str], None]

    def claims(self) -> Iterator[dict[str, Any]]:
        for name, design in DESIGNS.items():
            if name in self.names:
                self.progress(design.title)
                found = self._map(partial(_claim, name), 1 if design.limit else CONTRAST_SHARE)
                yield {
                    "name": name,
                    "title": design.title,
                    "limit": design.limit,
                    "searches": len(found),
                    "claimed": sum(one.claimed for one in found),
                    "rounds": sum(one.rounds for one in found),
                }

    def near(self) -> Iterator[dict[str, Any]]:
        for name, way in WAYS.items():
            if name in self.names:
                self.progress(way.title)
                found = self._map(partial(_near, name), NEAR_SHARE)
                yield {"name": name, "title": way.title, "searches": len(found), "near": sum(found)}

    def recorded(self, spaces: Path) -> Iterator[dict[str, Any]]:
        for path in sorted(spaces.glob("*.json")):
            recorded = load(path)
            for name in (name for name in _ON_RECORDED if name in self.names):
                title = WAYS[name].title
                self.progress(f"{recorded.title}: {title}")
                found = self._map(partial(_best_found, path, name), RECORDED_SHARE)
                yield {
                    "name": name,
                    "title": title,
                    "space": recorded.title,
                    "size": len(recorded.seconds),
                    "source": recorded.source,
                    "performance": [[round(value, 4) for value in one] for one in found],
                }

    def _map(self, run: Callable[[int], _Found], share: int) -> list[_Found]:
        seeds = self.seeds[: max(1, len(self.seeds) // share)]
        if self.pool is None:
            return [run(seed) for seed in seeds]
        return list(self.pool.map(run, seeds, chunksize=_CHUNK))
