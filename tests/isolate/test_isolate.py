"""Candidates that are not to be trusted, in processes of their own: whatever they do there, none of them passes."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench  # noqa: F401
from pytest_kgate.isolate.confine import version
from pytest_kgate.report.record import json_schema
from pytest_kgate.report.record import load

CANDIDATES = '''
"""Each does its work at most once where the reference does it eight times: by speed alone, all of them would pass."""

import gc
import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import torch

calls = 0


def honest(x):
    return x @ x


def into(x, out):
    torch.mm(x, x, out=out)


def exits(x):
    os._exit(0)


def exits_later(x):
    global calls
    calls += 1
    return x @ x if calls < 8 else os._exit(0)


def crashes(x):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(x):
    time.sleep(600)


def raises(x):
    raise ValueError("of its own \\x1b[2J")


def zeros(x):
    return torch.zeros_like(x)


def slow(x):
    for _ in range(20):
        answer = x @ x
    return answer


def patches_clock(x):
    """Slow, and every clock that it can reach stands still."""
    time.perf_counter = time.monotonic = time.time = lambda: 0.0
    time.perf_counter_ns = lambda: 0
    return slow(x)


def patches_comparison(x):
    torch.Tensor.abs = lambda self: self * 0
    torch.equal = lambda *_: True
    return torch.zeros_like(x)


def patches_judge(x):
    import dataclasses

    from pytest_kgate import gate, judging, race

    race.judge = judging.judge = lambda gate, *_, **__: gate.Judgement(gate, gate.Verdict.PASS, "", 0)
    return slow(x)


def makes_draws_alike(x):
    """Remembers one answer for all draws, having made the generator forget its seed."""
    randn = torch.randn
    torch.randn = lambda *shape, **_: randn(*shape, generator=torch.Generator().manual_seed(1))
    answers = globals().setdefault("answers", {})
    return answers.setdefault(0, x @ x)


def remembers(x):
    """By address, which is the same in every row."""
    answers = globals().setdefault("remembered", {})
    key = x.data_ptr()
    if key not in answers:
        answers[key] = x @ x
    return answers[key]


def searches_memory(x):
    for item in gc.get_objects():
        if type(item) is torch.Tensor and item.dtype == torch.float64 and item.shape == x.shape:
            return item.to(x.dtype)
    return torch.zeros_like(x)


def searches_parent(x):
    """The seed of everything stands in a record, later; whoever can read the parent's memory has it now."""
    for name in ("mem", "fd/0", "environ"):
        with open(f"/proc/{os.getppid()}/{name}", "rb") as file:
            file.read(1)
    return x @ x


def skips(x, out):
    """Works in three calls of four."""
    global calls
    calls += 1
    if calls < 8 or calls % 4:
        torch.mm(x, x, out=out)


def defers(x, out):
    """Works in a thread, after it has said that it is done."""
    global calls
    calls += 1
    if calls < 8:
        return torch.mm(x, x, out=out)
    threading.Timer(0.005, lambda: torch.mm(x, x, out=out)).start()


def _wire():
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass


def answers_early(x, out):
    """Says that it is done before it is asked, many times over."""
    global calls
    calls += 1
    if calls == 8:
        wire = _wire()
        for _ in range(50):
            wire.send(b"{}")
    if calls < 8:
        return torch.mm(x, x, out=out)
    time.sleep(0.05)
    torch.mm(x, x, out=out)


def says_pass(x):
    _wire().send(b'{"verdict": "PASS", "record": {"verdict": "PASS"}}')
    return torch.zeros_like(x)


def says_nonsense(x):
    _wire().send(b"[" * 60000)
    return torch.zeros_like(x)


def changes_input(x):
    x *= 2
    return x @ x / 4


def writes_beyond(x, out):
    torch.mm(x, x, out=out)
    torch.as_strided(out, (1,), (1,), out.storage_offset() + out.numel()).zero_()


def rewrites_records(x):
    path = Path("records.json")
    path.write_text(path.read_text().replace('"WRONG"', '"PASS"').replace('"ERROR"', '"PASS"'))
    return torch.zeros_like(x)


def stops_the_judge(x):
    os.kill(os.getppid(), signal.SIGSTOP)
    return torch.zeros_like(x)


def patches_files(x):
    """What is imported later, by anyone."""
    import pytest_kgate.report.failure as module

    Path(module.__file__).open("a").close()
    return torch.zeros_like(x)


def patches_pytest(x):
    import pytest

    for config in [one for one in gc.get_objects() if isinstance(one, pytest.Config)]:
        raise SystemError("the judging process is in reach")
    pytest.fail.Exception = ZeroDivisionError
    return torch.zeros_like(x)


def leaves_a_daemon(x):
    """A grandchild in a session of its own, which would go on when all is over."""
    mine, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(theirs, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    raise ValueError(f"see process {os.read(mine, 20).decode()}")
'''

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
    "says_pass": ("WRONG", "the output holds NaN"),
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
"""Verdict, and what the reason says. A slow candidate may also be INCONCLUSIVE on a busy machine."""

LANDLOCK = {"rewrites_records": 1, "stops_the_judge": 6, "patches_files": 1, "searches_parent": 1}
"""The version of Landlock that these need to be stopped at once; without it they could do harm, and are left out."""

if sys.platform != "linux":
    pytest.skip("isolation needs Linux", allow_module_level=True)

CAUGHT = {name: caught for name, caught in CAUGHT.items() if version() >= LANDLOCK.get(name, 0)}


def session(folder, functions, *arguments):
    """A session in a process of its own, with these candidates isolated: its run, and its records by candidate."""
    (folder / "generated.py").write_text(CANDIDATES)
    (folder / "test_it.py").write_text(TESTS.replace("FUNCTIONS", repr(list(functions))))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--kgate-isolate"]
    command += ["--kgate-device=host", "--kgate-json=records.json", "--kgate-budget=6", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / "records.json").exists(), run.stdout + run.stderr
    jsonschema.validate(json.loads((folder / "records.json").read_text()), json_schema())
    found = {record["test"].partition("[")[2][:-1]: record for record in load(folder / "records.json")}
    return run, found


@pytest.fixture(scope="module")
def caught(tmp_path_factory):
    return session(tmp_path_factory.mktemp("isolated"), CAUGHT)


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


def test_process_that_a_candidate_leaves_behind_is_ended(caught):
    _, records = caught
    daemon = re.findall(r"see process (\d+)", records["leaves_a_daemon"]["reason"])[0]
    with contextlib.suppress(FileNotFoundError):  # its id may have been given to another process
        assert "pytest_kgate" not in Path(f"/proc/{daemon}/cmdline").read_text()


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return session(tmp_path_factory.mktemp("honest"), ["honest", "into"])


@pytest.mark.parametrize("function", ["honest", "into"])
def test_honest_candidate_passes(honest, function):
    _, records = honest
    record = records[function]
    # On a busy machine the reference may be faster once the race is over; whoever was it, the candidate is charged.
    busy = "the reference took" in record["reason"]
    assert record["verdict"] in ("PASS", "INCONCLUSIVE") or busy, record["reason"]
    assert record["isolation"]["calls_in_a_row"] > 1
    assert record["isolation"]["verified"] >= record["timing"]["rounds"]
    assert record["integrity"]["checks"]["threads"].startswith("not run")
    assert record["integrity"]["findings"] == []


def test_candidate_that_hangs_is_ended(tmp_path):
    _, records = session(tmp_path, ["hangs"], "--kgate-timeout=8")
    assert records["hangs"]["verdict"] == "ERROR"
    assert "The candidate hung" in records["hangs"]["reason"]
