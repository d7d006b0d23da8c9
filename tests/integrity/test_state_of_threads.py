"""Where threads may run and how urgent they are: what a candidate leaves changed is named and put back."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.global_state import state
from pytest_kgate.integrity.global_state.state import GlobalState


@pytest.mark.skipif(sys.platform != "linux", reason="threads have settings of their own on Linux")
def test_workers_of_a_kernel_that_places_them_may_be_placed_elsewhere():
    everywhere = sorted(os.sched_getaffinity(0))
    worker = threading.Thread(target=lambda: done.wait())
    done = threading.Event()
    worker.start()
    try:
        os.sched_setaffinity(worker.native_id, {everywhere[0]})  # by an earlier test's kernel
        state = GlobalState(HostDevice())
        os.sched_setaffinity(worker.native_id, {everywhere[-1]})
        assert not any("affinity" in one for one in state.restore())
    finally:
        done.set()
        worker.join()


@pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) == 19, reason="nothing is less urgent than this process")
def test_workers_that_are_pinned_or_made_less_urgent_are_found_and_put_back():
    worker = threading.Thread(target=lambda: done.wait())
    done = threading.Event()
    worker.start()
    try:
        state = GlobalState(HostDevice())
        before = os.sched_getaffinity(worker.native_id)
        os.sched_setaffinity(worker.native_id, {min(before)})
        os.setpriority(os.PRIO_PROCESS, worker.native_id, os.getpriority(os.PRIO_PROCESS, 0) + 1)
        found = state.restore()
        assert any(one.startswith("nice of 1 thread, which ") for one in found)
        assert len(before) == 1 or "affinity of 1 thread, which was put back" in found
        assert os.sched_getaffinity(worker.native_id) == before
    finally:
        done.set()
        worker.join()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have settings of their own on Linux")
def test_main_thread_is_compared_once_and_alone_where_openmp_places_threads(monkeypatch):
    monkeypatch.setattr(state, "_places_threads", lambda: True)
    worker = threading.Thread(target=lambda: done.wait())
    done = threading.Event()
    worker.start()
    before = os.sched_getaffinity(0)
    try:
        kept = GlobalState(HostDevice())
        os.sched_setaffinity(worker.native_id, {min(before)})
        assert kept.restore() == []
        os.sched_setaffinity(0, {min(before)})
        assert len(before) == 1 or kept.restore() == ["affinity of 1 thread, which was put back"]
        assert os.sched_getaffinity(0) == before
    finally:
        os.sched_setaffinity(0, before)
        done.set()
        worker.join()


def test_workers_are_started_once_for_a_process_and_a_number_of_them(monkeypatch):
    state._start_workers.cache_clear()
    started = []
    monkeypatch.setattr(state.torch, "zeros", started.append)
    GlobalState(HostDevice())
    GlobalState(HostDevice())
    assert len(started) == 1
    monkeypatch.setattr(state.os, "getpid", lambda: -1)  # a fork has none of them
    monkeypatch.setattr(state, "ThreadsSettings", lambda **_: None)
    GlobalState(HostDevice())
    assert len(started) == 2
    state._start_workers.cache_clear()
