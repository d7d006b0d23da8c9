"""A worker of a search: whatever the child process does, there is one answer and nothing is left."""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from concurrent.futures import Executor
from concurrent.futures import Future
from pathlib import Path

import pytest

from pytest_kgate.search.running.child import work as work_module
from pytest_kgate.search.running.child.order import FILES
from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.child.work import work
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.executors.remote import ExecutorPool
from pytest_kgate.system import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="`kgate evaluate` needs Linux")

GOOD = {"verdict": "MEASURED", "records": [{"seconds": {"lease": 1.5, "check": 3.0}}, {"seconds": {}}]}
BUSY = {"verdict": "BUSY", "records": []}


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What stands in for `kgate evaluate`: a shell script, whose last argument names the file for the answer."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def be(script: str, **texts: object) -> Order:
        for name, content in texts.items():
            (tmp_path / name).write_text(json.dumps(content))
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\nfor last; do :; done\nanswer=${{last#--json=}}\ncd {tmp_path}\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return Order(("--test=test_it.py",), str(tmp_path), 0.2)

    return be


def test_answer_comes_back_with_what_was_waited_for_the_device(child):
    answered = work(child("cp good $answer", good=GOOD))
    assert (answered.answer, answered.lost, answered.waited_seconds) == (GOOD, "", 1.5)


def test_files_of_an_order_are_where_its_arguments_say(child, tmp_path):
    child("cat ${4#--joint=} > seen; cp good $answer", good=GOOD)
    work(Order((f"--joint={FILES}/a.json",), str(tmp_path), 5.0, (("a.json", "[1, 2]"),)))
    assert (tmp_path / "seen").read_text() == "[1, 2]"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "was ended by SIGKILL"),
        ("echo Out of luck; exit 3", "ended with status 3, without an answer. It said last: Out of luck"),
        ("printf '{' > $answer", "ended with status 0, without an answer"),
    ],
)
def test_child_without_an_answer_is_an_outcome_that_says_how_it_ended(child, script, said):
    answered = work(child(script))
    assert answered.answer is None
    assert said in answered.lost
    assert not answered.killed


def test_child_that_does_not_end_is_ended_with_all_it_has_started(child, tmp_path, monkeypatch):
    monkeypatch.setattr(work_module, "GRACE_SECONDS", 0.1)
    answered = work(child("trap '' TERM; sleep 600 & echo $! > pid; wait; wait; sleep 600"))
    assert (answered.answer, answered.killed) == (None, True)
    pid, end = tmp_path / "pid", time.monotonic() + 60
    while pid.exists() and _runs(int(pid.read_text() or 0)):  # it was killed, and ends once it is scheduled
        assert time.monotonic() < end
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    return any(one == pid and fields[0] != "Z" for one, fields in procfs.processes())


def test_answer_of_one_that_was_told_to_end_is_none_on_the_candidate(child, monkeypatch):
    monkeypatch.setattr(work_module, "GRACE_SECONDS", 0.1)
    ended = "trap 'cp told $answer; kill $!; exit 143' TERM; sleep 600 & wait"
    answered = work(child(ended, told={"verdict": "MISUSE", "records": []}))
    assert (answered.answer, answered.killed) == (None, True)


def test_busy_device_is_waited_for_and_that_is_no_time_of_the_candidate(child):
    script = "if test -e once; then cp good $answer; else touch once; cp busy $answer; fi"
    answered = work(child(script, good=GOOD, busy=BUSY))
    assert answered.answer == GOOD
    assert 1.5 < answered.waited_seconds <= answered.seconds + 1.5


def test_folder_that_is_gone_costs_one_candidate(child, tmp_path):
    child("")
    answered = work(Order((), str(tmp_path / "gone"), 1.0))
    assert "could not be started" in answered.lost


def test_each_place_of_the_pool_takes_a_gpu_of_its_own(child, tmp_path):
    order = child("echo $PYTEST_XDIST_WORKER >> places; cp good $answer", good=GOOD)
    pool = LocalPool(2)
    threads = [threading.Thread(target=pool.run, args=(order,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set((tmp_path / "places").read_text().split()) <= {"gw0", "gw1"}
    assert pool.run(order).answer == GOOD


def test_closed_pool_ends_what_runs_and_begins_nothing_more(child, monkeypatch):
    order, started, answers = child("exec sleep 600"), threading.Semaphore(0), []
    add = LocalPool._add
    monkeypatch.setattr(LocalPool, "_add", lambda pool, one: (add(pool, one), started.release()))
    pool = LocalPool(2)
    long = Order(order.arguments, order.folder, 300.0)
    threads = [threading.Thread(target=lambda: answers.append(pool.run(long))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    pool.close()
    for thread in threads:
        thread.join()
    assert ["SIGTERM" in answer.lost for answer in answers] == [True, True]
    assert pool.run(order).lost == "The search has ended."


class Losing(Executor):
    """Loses so many workers in the middle of their work, then works."""

    made = 0

    def __init__(self, losses: list[Exception]) -> None:
        Losing.made += 1
        self._losses = losses

    def submit(self, function, /, *arguments, **named):
        future: Future[Answered] = Future()
        if self._losses:
            future.set_exception(self._losses.pop())
        else:
            future.set_result(Answered(GOOD))
        return future


@pytest.mark.parametrize(("losses", "lost"), [(0, ""), (1, ""), (2, "2 workers were lost on it: BrokenExecutor: gone")])
def test_lost_worker_costs_a_second_try_and_no_outcome(losses, lost):
    Losing.made = 0
    errors: list[Exception] = [BrokenExecutor("gone") for _ in range(losses)]
    pool = ExecutorPool(lambda: Losing(errors), 1)
    answered = pool.run(Order((), "", 1.0))
    assert (answered.lost, answered.answer) == (lost, None if lost else GOOD)
    assert pool.run(Order((), "", 1.0)).answer == GOOD
    assert Losing.made == 1 + losses
    pool.close()
