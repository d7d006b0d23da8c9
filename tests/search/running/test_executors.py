"""`--executor`: which pool a name asks for, and what becomes of an evaluation whose worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.executors import spec as spec_module
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.executors.spec import open_pool

HELD = """
import os
import time

def pytest_configure():
    with open("runs", "a") as file:
        file.write("run ")
    if not os.path.exists("second"):
        open("first", "w").close()
        time.sleep(600)
"""


def test_this_machine_has_one_place_unless_more_are_asked_for():
    assert [open_pool("local", jobs).jobs for jobs in (None, 3)] == [1, 3]
    assert isinstance(open_pool("local", None), LocalPool)


def test_executor_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_cluster.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def pool(): return ThreadPoolExecutor(3)\n"
        "def other(): return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    pool = open_pool("my_cluster:pool", None)
    assert pool.jobs == 3
    assert "could not be started" in pool.run(Order((), str(tmp_path / "gone"), 1.0)).lost
    pool.close()
    with pytest.raises(UsageError, match=r"returns no concurrent\.futures\.Executor, but int"):
        open_pool("my_cluster:other", None)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("slurm", "There is no executor 'slurm'"),
        ("nowhere:pool", "No module named 'nowhere'"),
        ("os:pool", "has no attribute 'pool'"),
        ("dask:tcp://127.0.0.1:1", "Dask"),
    ],
)
def test_executor_that_can_not_be_had_says_why(spec, said, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(spec_module, "_DASK_SECONDS", "0.1s")
    with pytest.raises(UsageError, match=said):
        open_pool(spec, None)


def test_evaluation_of_a_killed_worker_is_made_by_another_one_and_counted_once(tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask is an extra: pip install pytest-kgate[dask]")
    (tmp_path / "conftest.py").write_text(HELD)
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    settings = {"processes": True, "threads_per_worker": 1, "resources": {"GPU": 1}, "dashboard_address": None}
    settings["local_directory"] = str(tmp_path)
    with (
        distributed.LocalCluster(2, **settings) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(1) as beside,
    ):
        pool = open_pool(f"dask:{cluster.scheduler_address}", None)
        assert pool.jobs == 2
        answer = beside.submit(pool.run, Order(("--test=test_it.py",), str(tmp_path), 60.0))
        while not (tmp_path / "first").exists():
            assert not answer.done(), answer.result()
            time.sleep(0.01)
        (tmp_path / "second").touch()
        (at_work,) = (one for one, tasks in client.processing().items() if tasks)
        os.kill(client.run(os.getpid, workers=[at_work])[at_work], signal.SIGKILL)
        found = answer.result()
        pool.close()
    assert found.answer is not None, found.lost
    assert "does not call kbench" in found.answer["feedback"]
    assert Path(tmp_path / "runs").read_text().split() == ["run", "run"]
