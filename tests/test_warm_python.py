"""The program that passes for Python in tests of sessions: what it is asked for, what it is given, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_suite import RELU
from sample_suite import fake_device

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is Python")


@pytest.mark.parametrize("how", ["-c", "-m", "file"])
def test_it_runs_what_python_runs(warm_program, tmp_path, monkeypatch, how):
    code = "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.getcwd(), os.environ['MINE'])"
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.setenv("MINE", "set")
    command = {"-c": ["-u", "-c", code], "-m": ["-mmine"], "file": ["mine.py"]}[how]
    run = subprocess.run([warm_program, *command, "a", "b"], cwd=tmp_path, input="in", capture_output=True, text=True)
    assert (run.stdout, run.stderr, run.returncode) == (f"['a', 'b'] in {tmp_path} set\n", "", 0)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("os._exit(7)", 7, ""),
        ("os.kill(os.getpid(), 11)", -signal.SIGSEGV, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import atexit; atexit.register(print, 'late', file=sys.stderr)", 0, "late\n"),
    ],
)
def test_it_ends_as_python_does(warm_program, code, status, said):
    run = subprocess.run([warm_program, "-c", f"import os, sys; {code}"], capture_output=True, text=True)
    assert run.returncode == status
    assert run.stderr.endswith(said)


def test_files_keep_their_numbers(warm_program):
    ends = os.pipe()
    command = [warm_program, "-c", f"import os; os.write({ends[1]}, b'here')"]
    assert subprocess.run(command, pass_fds=(ends[1],), check=False).returncode == 0
    assert os.read(ends[0], 4) == b"here"
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_what_it_runs(warm_program, number):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([warm_program, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        child = int(run.stdout.readline())
        run.send_signal(number)
        assert run.wait(60) == -number
    end = time.monotonic() + 60
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end
        time.sleep(0.02)


SESSION = """
import sys

BEFORE = set(sys.modules)

def pytest_unconfigure():
    print("new:", *(name for name in sys.modules if name.startswith("pytest_kgate") and name not in BEFORE))
"""

TESTS = """
@pytest.mark.speedup(100)
def test_passes(kbench):
    kbench(torch.relu, RELU, budget=0.2)

@pytest.mark.speedup(1e-3)
def test_fails(kbench):
    kbench(torch.relu, RELU, budget=0.2)
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("device", ["fake", "host"])
def test_sessions_find_all_their_modules_imported(pytester, device):
    """One that `session_modules.py` lacks is imported, and what it caches is read, by each session anew."""
    pytester.makeconftest(SESSION + (fake_device() if device == "fake" else ""))
    pytester.makepyfile(RELU + TESTS)
    options = ["--kgate-device=host"] if device == "host" else []
    result = pytester.runpytest_subprocess("-s", "--kgate-json=records.json", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert [line for line in result.outlines if line.startswith("new:")] == ["new:"]
