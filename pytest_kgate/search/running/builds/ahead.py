"""Kernels built ahead of their races, on all cores but two, into the cache in which their sessions find them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.kernel import build_kernel
from pytest_kgate.build.kernel import prepare
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.isolation.process.confined_compiler import confined
from pytest_kgate.search.running.builds.foresee import Build

Outcome = BuildResult | KgateError
"""Of one build; the error of a source that does not compile is a `BuildError`."""


@dataclass(frozen=True)
class Built:
    """What became of a build, and how long this search waited for it."""

    outcome: Outcome
    seconds: float


def spare_cores() -> int:
    """All cores that this process may use but two, one of which races and one of which looks after that."""
    return max(1, len(os.sched_getaffinity(0)) - 2)


class BuildsAhead:
    """Compiles what it was told of, in that order, as cores are free; none starts while it is paused."""

    def __init__(self, workers: int | None = None, build: Callable[[Build], Outcome] | None = None) -> None:
        self._build = build or compile_one
        self._pool = ThreadPoolExecutor(workers or spare_cores(), thread_name_prefix="kgate-build")
        self._known: dict[Build, Future[Built]] = {}
        self._lock = threading.Condition()
        self._pauses = 0
        self._running = 0
        self._closed = False

    def want(self, builds: Iterable[Build]) -> None:
        """Build these, which will be needed, and return at once. What is known already is not built again."""
        for build in builds:
            self._future(build)

    def get(self, build: Build) -> Built:
        """What became of it, once it is built; nobody need have asked for it before."""
        return self._future(build).result()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No compiler runs in the block: those that run come to their end first, and none is started."""
        with self._lock:
            self._pauses += 1
            self._lock.wait_for(lambda: not self._running)
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                self._lock.notify_all()

    def close(self) -> None:
        """Begin nothing more; a compiler that runs comes to its end, whose result stays in the cache."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _future(self, build: Build) -> Future[Built]:
        with self._lock:
            if build not in self._known:
                self._known[build] = self._pool.submit(self._run, build)
            return self._known[build]

    def _run(self, build: Build) -> Built:
        with self._lock:
            self._lock.wait_for(lambda: not self._pauses or self._closed)
            if self._closed:
                return Built(KgateError("The search has ended.", ""), 0.0)
            self._running += 1
        start = time.monotonic()
        try:
            return Built(self._build(build), time.monotonic() - start)
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()


def compile_one(build: Build) -> Outcome:
    """The library, from the cache or compiled, confined where its source is not trusted. Never raises."""
    try:
        if build.confined_seconds is not None:
            how = confined(build.confined_seconds)
            return build_kernel(build.source, dict(build.knobs), arch=build.arch, debug=build.debug, confined=how)[3]
        return prepare([(build.source, dict(build.knobs))], arch=build.arch, debug=build.debug)[0]
    except KgateError as error:
        return error
    except Exception as error:  # a thread that dies would leave a candidate without an outcome
        return BuildError(f"The build broke off: {type(error).__name__}: {error}", "")
