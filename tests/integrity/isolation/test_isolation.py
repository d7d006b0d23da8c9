"""Candidates that are not to be trusted, in processes of their own: whatever they do there, none of them passes."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid

import pytest_kgate.bench.call  # noqa: F401
from pytest_kgate.integrity.isolation.process.confinement.landlock import landlock_version
from pytest_kgate.report.record.document import load

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

N = 256

def eight_times(x):
    for _ in range(8):
        answer = x @ x
    return answer

SQUARE = Problem(
    name="square",
    inputs=lambda g: (torch.randn(N, N, generator=g),),
    reference=eight_times,
    exact=lambda x: x.double() @ x.double(),
)

@pytest.mark.allclose(1e-3)
@pytest.mark.speedup(0.8)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_it(kbench, function):
    kbench(f"generated.py:{function}", SQUARE)
"""

CAUGHT = {
    "exits": ("ERROR", "ended with status 0 before it had answered"),
    "exits_later": ("ERROR", "ended with status 0 before it had answered"),
    "crashes": ("ERROR", "signal SIGSEGV ended it"),
    "raises": ("ERROR", "The candidate raised ValueError: of its own ?[2J"),
    "zeros": ("WRONG", "max |candidate - exact|"),
    "slow": ("FAIL or INCONCLUSIVE", ""),
    "patches_clock": ("FAIL or INCONCLUSIVE", ""),
    "patches_comparison": ("WRONG", "max |candidate - exact|"),
    "patches_judge": ("FAIL or INCONCLUSIVE", ""),
    "makes_draws_alike": ("WRONG", "max |candidate - exact|"),
    "remembers": ("WRONG", "max |candidate - exact|"),
    "searches_memory": ("WRONG", "max |candidate - exact|"),
    "skips": ("INVALID", "a timed launch left another answer"),
    "defers": ("INVALID or ERROR", ""),
    "answers_early": ("INVALID", "a timed launch left another answer"),
    "says_pass": ("WRONG", ""),
    "says_nonsense": ("ERROR", "is no message"),
    "changes_input": ("ERROR", "changed its input 0"),
    "writes_beyond": ("ERROR", "wrote outside of its output"),
    "rewrites_records": ("ERROR", "Permission denied"),
    "stops_the_judge": ("ERROR", "Operation not permitted"),
    "patches_files": ("ERROR", "Permission denied"),
    "searches_parent": ("ERROR", "Permission denied"),
    "patches_pytest": ("WRONG", "max |candidate - exact|"),
    "leaves_a_daemon": ("ERROR", "see process"),
}
"""Verdict, and what the reason says. A slow candidate may also be INCONCLUSIVE on a busy machine; and there the zeros
of one that answers before its work is done may arrive in time to be compared, in place of NaN."""

LANDLOCK = {"rewrites_records": 1, "stops_the_judge": 6, "patches_files": 1, "searches_parent": 1}
"""The version of Landlock that these need to be stopped at once; without it they could do harm, and are left out."""

if sys.platform != "linux":
    pytest.skip("isolation needs Linux", allow_module_level=True)

CAUGHT = {name: caught for name, caught in CAUGHT.items() if landlock_version() >= LANDLOCK.get(name, 0)}


ALTER_WHAT_IS_THEIRS = (
    *("exits", "exits_later", "crashes", "raises", "zeros", "slow", "patches_clock", "patches_comparison"),
    *("patches_judge", "makes_draws_alike", "remembers", "searches_memory", "skips", "defers", "answers_early"),
    *("changes_input", "writes_beyond", "says_pass", "says_nonsense", "rewrites_records", "patches_files"),
)
"""Those that touch nothing beyond their own process, files, and what it shares with the judge: how that process came to
be is nothing to them, and it may be forked from one that has PyTorch, which saves more than a second each. The others
meet processes as users have them."""

FORKED = """
import sys

from pytest_kgate.integrity.isolation import stopwatch

stopwatch._ROW_SECONDS = {"host": 5e-3}  # a call of the reference, or more: far longer than a process takes to wake

def pytest_runtest_setup(item):
    sys.executable = PROGRAM if item.callspec.params["function"] in FUNCTIONS else PYTHON
"""


def fork(folder, warm_program, functions):
    """Have the processes of these candidates forked in the folder's session."""
    forked = FORKED.replace("PROGRAM", repr(warm_program)).replace("FUNCTIONS", repr(functions))
    forked = forked.replace("PYTHON", repr(sys.executable))
    (folder / "conftest.py").write_text(forked)


def session(folder, functions, *arguments, source="untrusted.py", program=None):
    """A session in a process of its own, with these candidates isolated: its run, and its records by candidate.

    `program`: what it is run by, if not Python itself.
    """
    shutil.copy(Path(__file__).with_name(source), folder / "generated.py")
    (folder / "test_it.py").write_text(TESTS.replace("FUNCTIONS", repr(list(functions))))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [program or sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--kgate-isolate"]
    command += ["--kgate-device=host", "--kgate-json=records.json", "--kgate-budget=6", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / "records.json").exists(), run.stdout + run.stderr
    demand_valid(json.loads((folder / "records.json").read_text()))
    found = {record["test"].partition("[")[2][:-1]: record for record in load(folder / "records.json")}
    return run, found


@pytest.fixture(scope="module")
def caught(warm_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("isolated")
    fork(folder, warm_program, ALTER_WHAT_IS_THEIRS)
    return session(folder, CAUGHT, "--kgate-budget=3")


@pytest.mark.parametrize("function", CAUGHT)
def test_candidate_does_not_pass(caught, function):
    run, records = caught
    verdict, reason = CAUGHT[function]
    record = records[function]
    assert record["verdict"] in verdict.split(" or "), record["reason"]
    assert reason in record["reason"]
    assert f"test_it[{function}]" in run.stdout


def test_session_with_such_candidates_fails(caught):
    run, _ = caught
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"{len(CAUGHT)} failed" in run.stdout
    assert "It said nothing: call it in a Python of your own" in " ".join(run.stdout.split())  # of one that exits


def test_process_that_a_candidate_leaves_behind_is_ended(caught):
    _, records = caught
    daemon = re.findall(r"see process (\d+)", records["leaves_a_daemon"]["reason"])[0]
    with contextlib.suppress(FileNotFoundError):  # its id may have been given to another process
        assert "pytest_kgate" not in Path(f"/proc/{daemon}/cmdline").read_text()


@pytest.fixture(scope="module")
def honest(warm_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    fork(folder, warm_program, ("honest", "into"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))  # as Inductor does once the judge has compiled a reference
        return session(folder, ["honest", "into", "uses_the_machine"], program=warm_program)


@pytest.mark.parametrize("function", ["honest", "into", "uses_the_machine"])
def test_honest_candidate_is_not_accused(honest, function):
    """Whether it is fast enough is for the machine to say; nothing may be held against it."""
    _, records = honest
    record = records[function]
    # On a busy machine the reference may be faster once the race is over; whoever was it, the candidate is charged.
    busy = "the reference took" in record["reason"]
    assert record["verdict"] in ("PASS", "INCONCLUSIVE", "FAIL") or busy, record["reason"]
    assert record["isolation"]["calls_in_a_row"]  # on a busy machine one call may take as long as a row should
    assert record["isolation"]["verified"] >= record["timing"]["rounds"] or record["verdict"] != "PASS"
    assert len(set(record["isolation"]["lots"])) == record["isolation"]["verified"]
    assert record["integrity"]["checks"]["threads"].startswith("not run")
    assert record["integrity"]["findings"] == []


def test_candidate_that_hangs_is_ended(warm, tmp_path):
    _, records = session(tmp_path, ["hangs"], "--kgate-timeout=3")
    assert records["hangs"]["verdict"] == "ERROR"
    assert "The candidate hung" in records["hangs"]["reason"]
