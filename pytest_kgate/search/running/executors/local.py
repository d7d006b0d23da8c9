"""Evaluations on this machine: child processes of this one, as many at once as it was given GPUs to use."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator

from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.child.work import GRACE_SECONDS
from pytest_kgate.search.running.child.work import work
from pytest_kgate.system.child_process import signal_all

_WORKER = "PYTEST_XDIST_WORKER"
"""By whose number a session takes its GPU, where several run at once."""


class LocalPool:
    """Each of its places takes the GPU of its own number in turn, as the workers of pytest-xdist do."""

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for place in range(jobs):
            self._free.put(place)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Condition()
        self._busy = 0
        self._closed = False

    def run(self, order: Order) -> Answered:
        """As `Pool.run`; begins once a place is free."""
        place = self._free.get()
        with self._lock:
            if self._closed:
                self._free.put(place)
                return Answered(None, "The search has ended.")
            self._busy += 1
        try:
            if self.jobs > 1:
                order = dataclasses.replace(order, environment=(*order.environment, (_WORKER, f"gw{place}")))
            with self._ended() as started:
                return work(order, started)
        finally:
            with self._lock:
                self._busy -= 1
                self._lock.notify_all()
            self._free.put(place)

    @contextlib.contextmanager
    def _ended(self) -> Iterator[_Started]:
        """Whoever is told of a child, so that `close` can end it."""
        started = _Started(self)
        try:
            yield started
        finally:
            with self._lock:
                self._running -= started.children

    def close(self) -> None:
        """As `Pool.close`; returns once they have ended."""
        with self._lock:
            self._closed = True
            for number in (signal.SIGTERM, signal.SIGKILL):
                for child in self._running:
                    signal_all(child, number)
                self._lock.wait_for(lambda: not self._busy, GRACE_SECONDS)

    def _add(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.add(child)
            if self._closed:
                signal_all(child, signal.SIGTERM)


class _Started:
    def __init__(self, pool: LocalPool) -> None:
        self._pool = pool
        self.children: set[subprocess.Popen[bytes]] = set()

    def __call__(self, child: subprocess.Popen[bytes]) -> None:
        self.children.add(child)
        self._pool._add(child)
