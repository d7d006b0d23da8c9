"""Evaluations by any `concurrent.futures.Executor`: a pool of processes, a cluster's client, one of a user's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor

from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.child.work import work

_TRIES = 2
"""A worker can be lost without the candidate's fault; one that loses two is not tried again."""


class ExecutorPool:
    """Hands orders to an executor, and makes a new one where that breaks, as a pool does that has lost a process."""

    def __init__(self, make: Callable[[], Executor], jobs: int, closed: Callable[[], object] = lambda: None) -> None:
        """`closed` is called once the executor is not needed any more."""
        self.jobs = jobs
        self._closed = closed
        self._make = make
        self._executor: Executor | None = make()
        self._lock = threading.Lock()

    def run(self, order: Order) -> Answered:
        """As `Pool.run`: the answer is that of the one future that has one, so that none is counted twice."""
        error: BaseException | None = None
        for _ in range(_TRIES):
            executor = self._current()
            try:
                return executor.submit(work, order).result()
            except Exception as lost:  # executors have exceptions of their own for lost workers
                error = lost
                self._replace(executor)
        return Answered(None, f"{_TRIES} workers were lost on it: {type(error).__name__}: {error}".rstrip(": "))

    def close(self) -> None:
        """As `Pool.close`: what has not begun is not begun; workers end their children when they end."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            _drop(executor)
        self._closed()

    def _current(self) -> Executor:
        with self._lock:
            if self._executor is None:
                self._executor = self._make()
            return self._executor

    def _replace(self, broken: Executor) -> None:
        """Drop an executor that has failed, once, whichever thread sees it first."""
        with self._lock:
            if self._executor is not broken:
                return
            self._executor = None
        _drop(broken)


def _drop(executor: Executor) -> None:
    """Begin nothing more, and wait for nothing."""
    try:
        executor.shutdown(wait=False, cancel_futures=True)
    except TypeError:  # Dask's cancels by itself where it does not wait
        executor.shutdown(wait=False)
