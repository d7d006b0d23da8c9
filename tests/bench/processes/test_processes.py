"""Several processes as a user sees them: verdicts, records, and what is said when one of them fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid

import pytest_kgate.bench.call  # noqa: F401
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.samples import decode_samples

CONFTEST = """
import json
import os
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Mixture, RaceOffset, White

TASK = json.load(open(os.environ["KGATE_PROCESS"])) if "KGATE_PROCESS" in os.environ else {"process": 0}

@pytest.fixture(scope="session")
def kgate_device():
    noise = Mixture((White(0.01), RaceOffset(0.005)))
    return FakeDevice({"candidate": RATIO * 1e-5, "reference": 1e-5}, noise=noise, seed=TASK["process"])
"""

TESTS = """
import os
import time
from pathlib import Path
import pytest
import torch
from conftest import TASK
from pytest_kgate import Problem

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
    reference={"relu": torch.relu, "clamp": lambda x: torch.clamp(x, min=0)},
    exact=lambda x: torch.relu(x.double()),
)

def candidate(x):
    BROKEN
    return torch.relu(x)

@pytest.mark.speedup(0.95)
def test_gate(kbench, tmp_path):
    BODY
"""


@pytest.fixture
def suite(pytester):
    """One test on a fake device with this true ratio; `broken` runs in every call of the candidate."""

    def write(ratio=0.8, broken="pass", body="kbench(candidate, RELU)"):
        pytester.makeconftest(CONFTEST.replace("RATIO", str(ratio)))
        pytester.makepyfile(test_it=TESTS.replace("BROKEN", broken).replace("BODY", body))
        return pytester

    return write


def records_of(pytester):
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    return load(pytester.path / "records.json")


TWO_CALLS = """first = kbench(candidate, RELU, processes=1)
    assert first["timing"]["candidate"]["samples"]
    (tmp_path / "kept").write_text("by the parent") if not TASK["process"] else None
    with open(Path(__file__).with_name("calls"), "a") as file:
        file.write("x")
    kbench(candidate, RELU, speedup=0.99)
    assert (tmp_path / "kept").exists()
"""


def test_gate_is_judged_over_processes(warm, suite):
    """A test's other calls are not measured again, and its rest is run by the parent only."""
    pytester = suite(body=TWO_CALLS)
    (pytester.path / "test_other.py").write_text("def test_other():\n    open('other', 'a').write('x')\n")
    arguments = ["--kgate-processes=3", "--kgate-json=records.json", "--basetemp=base", "--junitxml=junit.xml"]
    result = pytester.runpytest_inprocess(*arguments)
    result.assert_outcomes(passed=2)
    first, second = records_of(pytester)
    assert (first["gates"][0]["ratio"]["method"], "processes" in first["timing"]) == ("blocks-t", False)
    (gate,), timing = second["gates"], second["timing"]
    assert gate["ratio"]["method"] == "processes-t"
    assert gate["processes"]["rounds"] == [96, 96, 96]
    assert timing["rounds"] == gate["rounds"] == 288
    assert decode_samples(timing["candidate"]["samples"]).shape == (288, 10)
    assert len({one["seed"] for one in timing["processes"]}) == 3
    assert len(set(gate["processes"]["ratios"])) == 3
    assert 0 < gate["sequential_p"] < gate["nominal_level"] == pytest.approx(0.025)
    assert (pytester.path / "calls").read_text() == "xxxx"
    assert (pytester.path / "other").read_text() == "x"
    assert 'tests="2"' in (pytester.path / "junit.xml").read_text()
    result.stdout.fnmatch_lines(["*#2 3 processes*PASS*"])


def test_worker_of_xdist_starts_processes_too(warm, suite):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    body = """assert os.environ["PYTEST_XDIST_WORKER"] == "gw0"
    kbench(candidate, RELU)"""
    pytester = suite(1.2, body=body)
    pytester.runpytest_subprocess("-n1", "--kgate-processes=3", "--kgate-json=records.json").assert_outcomes(failed=1)
    (record,) = records_of(pytester)
    assert record["verdict"] == "FAIL"
    assert record["gates"][0]["rounds"] == 288


@pytest.mark.parametrize(
    ("broken", "verdict", "said"),
    [
        ("== 2: os.kill(os.getpid(), 11)", "ERROR", "*Process 2 of 3 crashed: signal SIGSEGV ended it. It said:*"),
        ("== 1: return torch.relu(x) + 1", "WRONG", "*process 1 of 3: max |candidate - exact| is 1*"),
        ("== 1: raise OSError('no room')", "ERROR", "*process 1 of 3: *no room*"),
    ],
)
def test_process_that_fails_is_named_with_what_it_said(warm, suite, broken, verdict, said):
    pytester = suite(broken=f"if TASK['process'] {broken}")
    result = pytester.runpytest_inprocess("--kgate-processes=3", "--kgate-json=records.json")
    result.assert_outcomes(failed=1)
    (record,) = records_of(pytester)
    assert record["verdict"] == verdict
    assert record["gates"] == []
    result.stdout.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if TASK['process']: pytest.skip('not in my process')", "*not in my process*"),
        ("if TASK['process']: time.sleep(600)", "*Process 1 of 3 was ended after 5 s without a result*"),
        ("if TASK['process']: kbench(None, RELU)", "*Process 1 of 3 could not measure*"),
        ("if TASK['process']: assert False", "*ended with status 1 before the test came to its kbench call*"),
    ],
)
def test_process_that_never_measures_is_explained(warm, suite, body, said):
    pytester = suite(body=f"{body}\n    kbench(candidate, RELU)")
    # A process has four times the one and twice the other; those that come to an end by themselves may need more.
    timeout, budget = (1, 0.5) if "was ended" in said else (5, 1)
    result = pytester.runpytest_inprocess(
        "--kgate-processes=3", f"--kgate-timeout={timeout}", f"--kgate-budget={budget}"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said])
    if "could not measure" not in said:
        result.stdout.fnmatch_lines(["*pytest test_it.py::test_gate --kgate-processes 1*"])


def test_wrong_kernel_starts_no_process(warm, suite):
    body = "assert not TASK['process']\n    kbench(candidate, RELU)"
    pytester = suite(broken="return torch.relu(x) + 1", body=body)
    result = pytester.runpytest_inprocess("--kgate-processes=3", "--kgate-json=records.json")
    result.assert_outcomes(failed=1)
    (record,) = records_of(pytester)
    assert (record["verdict"], "process" in record["reason"]) == ("WRONG", False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_session(suite, number):
    """On Ctrl-C as on kill -9: nothing goes on timing behind the user's back."""
    body = """if TASK["process"]:
        Path(__file__).with_name("pid").write_text(str(os.getpid()))
        time.sleep(600)
    kbench(candidate, RELU)"""
    pytester = suite(body=body)
    command = [sys.executable, "-m", "pytest", "--kgate-processes=3"]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL) as session:
        try:
            child = _wait_for(lambda: int((pytester.path / "pid").read_text()))
            os.kill(session.pid, number)
            assert session.wait(60) == (pytest.ExitCode.INTERRUPTED if number == signal.SIGINT else -signal.SIGKILL)
        finally:
            session.kill()  # leaving the block waits for it, without a limit
    assert _wait_for(lambda: _gone(child))


def _wait_for(found, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            value = found()
            if value:
                return value
        time.sleep(0.05)
    pytest.fail(f"nothing came within {seconds} s")


def _gone(pid):
    """Whether the process has ended; one that nobody has waited for yet counts too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
