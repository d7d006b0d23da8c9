"""Child processes that end with their parent, and what is told of them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kgate.bench.processes import variable
from pytest_kgate.bench.processes.variable import environment_of_session
from pytest_kgate.bench.processes.variable import keep_environment
from pytest_kgate.system.child_process import environment_of_start
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import signal_all
from pytest_kgate.system.child_process import signal_name

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes have no groups")

PARENT = """
import subprocess, sys, time
from pytest_kgate.system.child_process import parent_pipe

CHILD = '''
import os, sys, threading, time
from pytest_kgate.system.child_process import end_with_parent

threading.Thread(target=end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
print(os.getpid(), flush=True)
time.sleep(60)
'''
with parent_pipe() as pipe:
    subprocess.Popen([sys.executable, "-c", CHILD, str(pipe)], pass_fds=(pipe,), start_new_session=True)
    time.sleep(60)
"""


def ends(pid: int) -> bool:
    """Whether the process ends within ten seconds; one that nobody has waited for counts as ended."""
    for _ in range(1000):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_child_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        assert ends(child)


def test_signal_reaches_what_a_child_has_started_and_a_dead_one_is_no_error() -> None:
    command = "sleep 60 & echo $!; wait"
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        signal_all(child, signal.SIGKILL)
        child.wait()
        assert ends(grandchild)
        signal_all(child, signal.SIGKILL)


def test_last_lines_leave_out_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("".join(f"line {number}  \n\n" for number in range(9)))
    with path.open() as output:
        assert last_lines(output) == [f"line {number}" for number in range(3, 9)]


def test_variables_that_could_slow_a_new_process_down_are_those_of_the_start(monkeypatch):
    names = ("ATEN_CPU_CAPABILITY", "GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_PERTURB_", "ONEDNN_MAX_CPU_ISA")
    for name in names:
        monkeypatch.setenv(name, "set by a candidate's module")
    monkeypatch.setattr(variable, "_OF_THE_SESSION", {})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as a conftest may
    keep_environment()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_AFFINITY", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "set by a candidate's module")
    found = environment_of_start(environment_of_session())
    assert "set by a candidate's module" not in found.values()
    assert found["OMP_NUM_THREADS"] == "1"


def test_a_new_session_gets_the_variables_that_this_one_began_with(monkeypatch):
    monkeypatch.setattr(variable, "_OF_THE_SESSION", {})
    monkeypatch.setenv("KGATE_BUDGET", "3")
    keep_environment()
    monkeypatch.setenv("KGATE_BUDGET", "0.1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--kgate-integrity=off")
    assert environment_of_session()["KGATE_BUDGET"] == "3"
    assert environment_of_session().get("PYTEST_ADDOPTS") != "--kgate-integrity=off"


def test_every_signal_has_a_name() -> None:
    assert signal_name(signal.SIGKILL) == "SIGKILL"
    assert signal_name(signal.SIGRTMIN + 6) == "SIGRTMIN+6"
    assert all(signal_name(number) for number in range(1, signal.SIGRTMAX + 1))


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no such flag here")
def test_output_whose_descriptor_can_not_be_read_any_more_tells_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "output", "w+") as output:
        output.write("said\n" * 3)
        output.flush()
        assert last_lines(output) == ["said"] * 3
        fcntl.fcntl(output, fcntl.F_SETFL, fcntl.fcntl(output, fcntl.F_GETFL) | os.O_DIRECT)
        assert last_lines(output) in ([], ["said"] * 3)  # some file systems take any size
