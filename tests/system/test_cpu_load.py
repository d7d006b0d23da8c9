"""What the machine tells of others' work, by real processes that work."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from pytest_kgate.system import cpu_load

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_processes_that_work_are_foreign_and_this_one_is_not() -> None:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        time.sleep(0.2)
        before = cpu_load.cpu_times()
        time.sleep(0.5)
        busy = cpu_load.cpu_times()
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert busy.foreign - before.foreign > 0.3  # of 0.5 s or more that the hogs worked
    before, spent = cpu_load.cpu_times(), time.process_time()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pass
    own, spent = cpu_load.cpu_times(), time.process_time() - spent
    assert own.foreign - before.foreign < (own.wall - before.wall) * (os.cpu_count() or 1) - spent + 0.1


def test_threads_that_share_a_core_wait_for_it() -> None:
    code = (
        "import os, threading, time\n"
        "from pytest_kgate.system.cpu_load import thread_wait_seconds\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "before = thread_wait_seconds()\n"
        "import hashlib\n"
        "data = bytes(1 << 24)\n"
        "done = []\n"
        "threads = [threading.Thread(target=lambda: [hashlib.sha256(data) for _ in range(12)] and done.append("
        "thread_wait_seconds())) for _ in range(2)]\n"
        "[one.start() for one in threads]\n"
        "[one.join() for one in threads]\n"
        "print(done[0] - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 0.02


def test_without_proc_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_load, "_first_line", lambda path: "")
    monkeypatch.setattr(cpu_load, "_threads", list)
    assert cpu_load.thread_wait_seconds() == 0.0
    assert (cpu_load.cpu_times().steal, cpu_load.cpu_times().pressure) == (0.0, 0.0)


class Clocks:
    """Clocks of a process whose other threads work until a time."""

    def __init__(self, works_until: float) -> None:
        self.now = 0.0
        self.works_until = works_until

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return min(self.now, self.works_until)


@pytest.mark.parametrize(("works_until", "waited"), [(0.0, 1e-3), (4e-3, 5e-3), (1.0, 10e-3)])
def test_pause_ends_when_the_workers_sleep_or_has_lasted_long_enough(monkeypatch, works_until, waited) -> None:
    monkeypatch.setattr(cpu_load, "time", Clocks(works_until))
    assert cpu_load.wait_until_quiet(10e-3) == pytest.approx(waited, abs=1.1e-3)


def test_pause_lasts_while_another_process_works_or_cannot_be_asked() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            end = time.perf_counter() + 30
            while cpu_load._worked_seconds(busy.pid) - time.process_time() < 0.1:
                assert time.perf_counter() < end
                time.sleep(0.01)
        finally:
            busy.kill()
    assert cpu_load.wait_until_quiet(5e-3, other=busy.pid) >= 5e-3
