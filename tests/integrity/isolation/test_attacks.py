"""Isolated candidates that attack the judging process from outside: each is refused, and does harm where it is not."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("isolation needs Linux", allow_module_level=True)

import attackers
from test_isolation import TESTS
from test_isolation import fork
from test_isolation import session

from pytest_kgate.integrity.isolation.process.confinement import system_calls
from pytest_kgate.integrity.isolation.process.judge.settings import JudgeSettings
from pytest_kgate.integrity.isolation.process.judge.shared_segments import SharedSegments

if system_calls.number("seccomp") is None:
    pytest.skip("no filter of system calls on this machine", allow_module_level=True)

CONFINED = """
import sys
from pathlib import Path
from pytest_kgate.integrity.isolation.process.confinement.confinement import confine

confined = confine(Path(sys.argv[1]), cuda=False)
if not confined.seccomp:
    sys.exit(77)
"""

ATTEMPTS = """
sys.path.insert(0, sys.argv[2])
import attackers
for name in sys.argv[3:]:
    print(name, attackers.attempt(name), sep=": ", flush=True)
"""


def attempts(folder, names, *, confined):
    """What becomes of these attacks on this process, by name."""
    code = (CONFINED if confined else "import sys\n") + ATTEMPTS
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent), *names]
    environment = {**os.environ, "ATTACKED": str(os.getpid())}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip("this machine can't filter system calls")
    assert run.returncode == 0, run.stderr
    return dict(line.split(": ", 1) for line in run.stdout.splitlines())


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return attempts(tmp_path_factory.mktemp("own"), attackers.ATTACKS, confined=True)


@pytest.mark.parametrize("name", attackers.ATTACKS)
def test_attack_from_a_confined_process_is_refused(refused, name):
    assert refused[name] == "refused: Operation not permitted"


def test_calls_newer_than_the_table_are_answered_as_by_a_kernel_that_has_none(tmp_path):
    """As if pidfd_open were such a call; any kernel that has it would say that there is no process of this number."""
    table = "from pytest_kgate.integrity.isolation.process.confinement import system_calls\n"
    call = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.syscall(434, -1, 0), ctypes.get_errno())\n"
    )
    code = f"{table}system_calls.FIRST_UNKNOWN = 434\n{CONFINED}{call}"
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip("this machine can't filter system calls")
    assert run.stdout.split() == ["-1", str(errno.ENOSYS)], run.stderr


def test_confined_process_may_not_say_that_another_is_to_end_where_memory_ends(tmp_path):
    code = CONFINED + "import os\nPath(f'/proc/self/task/{os.getpid()}/oom_score_adj').write_text('0')\n"
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip("this machine can't filter system calls")
    assert "PermissionError" in run.stderr


HARM = {
    "pins_threads": "affinity of",
    "idles_threads": "policy of",
    "renices_threads": "nice of",
    "limits_files": "RLIMIT_NOFILE: ",
    "starves_disk": "io_priority of 1 thread",
}


@pytest.mark.parametrize("name", HARM)
def test_attack_that_is_not_refused_is_found_and_put_back(tmp_path, name):
    if name == "pins_threads" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a single core, to which everything is pinned")
    before = JudgeSettings()
    assert attempts(tmp_path, [name], confined=False) == {name: "did it"}
    (change,) = before.restore(new_threads=False)
    assert HARM[name] in change
    if os.getuid() == 0:
        assert change.endswith("was put back")
        assert before.restore(new_threads=False) == []


def test_segment_that_is_left_is_found_and_removed(tmp_path):
    before = SharedSegments()
    assert attempts(tmp_path, ["leaves_segment"], confined=False) == {"leaves_segment": "did it"}
    assert before.remove_new() == ["a shared memory segment of 1048576 bytes was left, and removed"]
    assert before.remove_new() == []


CAUGHT = {
    "try_pins_threads": ("ERROR", "refused: Operation not permitted"),
    "try_stops_keeper": ("ERROR", "refused: Operation not permitted"),
    "truncates_block": ("ERROR", "Operation not permitted"),
    "truncates_block_opened_anew": ("ERROR", "Operation not permitted"),
    "seals_block": ("ERROR", "Operation not permitted"),
    "punches_hole": ("ERROR", "Operation not permitted"),
    "prints_without_end": ("ERROR", "ended with status 3 before it had answered"),
    "nests_folders": ("ERROR", "nested"),
}
"""Verdict, and what the reason says."""


ATTACK_THE_JUDGE = ("try_pins_threads", "try_stops_keeper")
"""These meet the judge, its keeper and their own process as users have them; the others attack what they share."""


@pytest.fixture(scope="module")
def caught(warm_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks")
    fork(folder, warm_program, tuple(CAUGHT.keys() - ATTACK_THE_JUDGE))
    own = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(own))
        _, records = session(folder, CAUGHT, source="attackers.py")
    return records, list(own.glob("kgate-isolated-*"))


@pytest.mark.parametrize("name", CAUGHT)
def test_candidate_that_attacks_does_not_pass_and_the_judge_lives_on(caught, name):
    verdict, reason = CAUGHT[name]
    record = caught[0][name]
    assert record["verdict"] in verdict.split(" or "), record["reason"]
    assert reason in record["reason"]
    assert record["isolation"]["confined"]["seccomp"]


def test_folders_of_candidates_are_removed_whatever_is_in_them(caught):
    assert caught[1] == []


def marked(folder):
    """Processes that run in a folder, or in one below it."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if path.readlink().is_relative_to(folder):
                found.add(int(path.parent.name))
    return found


def wait_until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_is_left_where_the_judge_is_killed(tmp_path):
    """The worker, what has left its session, and the folder: the keeper ends and removes them."""
    shutil.copy(Path(attackers.__file__), tmp_path / "generated.py")
    (tmp_path / "test_it.py").write_text(TESTS.replace("FUNCTIONS", "['outlives_the_judge']"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    own = tmp_path / "own"
    own.mkdir()
    environment = {**os.environ, "TMPDIR": str(own)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--kgate-isolate"]
    command.append("--kgate-device=host")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as judge:
        try:
            # The judge, the keeper, the worker, and a grandchild of it.
            wait_until(lambda: len(marked(tmp_path)) >= 4)
            assert len(list(own.glob("kgate-isolated-*"))) == 1
        finally:
            judge.send_signal(signal.SIGKILL)
    wait_until(lambda: not marked(tmp_path), 15.0)
    wait_until(lambda: not list(own.glob("kgate-isolated-*")), 15.0)


def test_program_refuses_calls_of_another_architecture():
    """And those of x86-64's other set of numbers; every jump stays within the program."""
    from pytest_kgate.integrity.isolation.process.confinement.seccomp import program

    code = program(1234, signals=True, sockets=True)
    steps = re.findall(rb"(?s).{8}", code)
    assert len(steps) == len(code) // 8 < 4096
    for at, step in enumerate(steps):
        if step[0] & 7 == 5:
            assert at + 1 + max(step[2], step[3]) < len(steps)


def test_gate_is_invalid_where_the_judge_was_changed(warm, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from pytest_kgate.integrity.isolation.process.judge.settings import JudgeSettings\n"
        "JudgeSettings.restore = lambda self, **_: ['affinity of 3 threads, which was put back']\n"
    )
    _, records = session(tmp_path, ["honest"], "--kgate-integrity=off")
    assert records["honest"]["verdict"] == "INVALID"
    assert "the judging process was changed from outside: affinity of 3 threads" in records["honest"]["reason"]
