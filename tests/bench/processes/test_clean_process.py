"""The clean process ends with its session, however that ends, and its own end is said and changes nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pytest_kgate.bench.processes.clean.look import CleanLook
from pytest_kgate.bench.processes.clean.look import CleanRoom
from pytest_kgate.bench.processes.clean.process import CleanProcess
from pytest_kgate.bench.processes.clean.process import CleanProcessLost
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.checks.findings import Findings
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.statistics.gates import ErrorGate

pytestmark = [
    pytest.mark.clean_process,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="the clean process needs Linux"),
]


@pytest.fixture
def process():
    """A clean process, with no session around it."""
    started = CleanProcess(HostDevice(), timeout_seconds=1.0)
    yield started
    started.close()


def looked_at(room):
    """What comes of a gate that would pass, whose clean process is one of the room's."""
    look = CleanLook(room, request(), HostDevice())
    look.kept.checked("normal", 1, Fingerprint((torch.zeros(2),)), torch.zeros(2))
    integrity = SimpleNamespace(findings=Findings(), clean=None, phase_over=lambda: None)
    builder = SimpleNamespace(may_pass=True, integrity=integrity, reference=SimpleNamespace(backend="math"))
    look.run(builder, lambda complaint: None)
    look.kept.close()
    return integrity.clean, integrity.findings


class Room(CleanRoom):
    """One whose processes are lost so, one after the other."""

    def __init__(self, lost):
        super().__init__()
        self._lost = lost

    def process(self, device, timeout_seconds, *, imports_candidates):
        if self._lost:
            raise self._lost.pop()
        return super().process(device, timeout_seconds, imports_candidates=imports_candidates)


def test_clean_process_that_ends_by_itself_is_said_and_changes_nothing_else():
    room = Room([CleanProcessLost("it ended with status 1")])
    clean, findings = looked_at(room)
    assert clean["why"] == "the clean process was lost: it ended with status 1"
    assert len(findings.warnings) == 1
    clean, findings = looked_at(room)
    assert clean["why"] == "the clean process was lost before: it ended with status 1"
    assert not findings.warnings
    assert not findings.all


@pytest.mark.parametrize(
    ("number", "how"),
    [(signal.SIGKILL, "signal SIGKILL ended it"), (signal.SIGSTOP, "it did not answer within 1 s")],
)
def test_clean_process_that_is_ended_or_stopped_from_outside_is_lost_for_good_reason(process, number, how):
    os.kill(process.pid, number)
    with pytest.raises(CleanProcessLost, match=how) as lost:
        process.ask({"do": "over"})
    assert lost.value.by_others


def test_clean_process_that_a_signal_has_ended_is_started_again_and_a_second_time_is_invalid():
    room = Room([CleanProcessLost("signal SIGKILL ended it", by_others=True) for _ in range(2)])
    _, findings = looked_at(room)
    assert [(one.check, one.reason.partition(".")[0]) for one in findings.all] == [
        ("clean", "the clean process, which looks at gates that would pass, was lost twice: signal SIGKILL ended it")
    ]
    assert not room._processes  # what may end the next gate's is none of that gate's doing
    room.close()


def request():
    return SimpleNamespace(
        problem=sdpa_problem(Shape(1, 1, 16, 16), "float32", "math"),
        candidate=torch.relu,
        error=ErrorGate(1e-4),
        speed=(),
        settings=SimpleNamespace(timeout=1.0),
    )


def test_gate_whose_clean_process_cannot_be_had_is_invalid():
    """As where a candidate leaves no descriptors, or another folder for temporary files."""
    clean, findings = looked_at(Room([OSError(24, "Too many open files")]))
    assert clean["why"] == "the clean process can't be had: [Errno 24] Too many open files"
    assert [one.check for one in findings.all] == ["clean"]


def test_no_process_is_left_behind_by_an_interrupted_session(pytester):
    pytester.makepyfile(
        test_it="""
import os, signal
from pathlib import Path
import torch.nn.functional as F
from pytest_kgate import Shape
from pytest_kgate.session.session import SESSION

def test_it(kbench, sdpa_oracle, request):
    problem = sdpa_oracle(Shape(1, 2, 32, 16), dtype="float32", backend="flash")
    kbench(F.scaled_dot_product_attention, problem, allclose=1e-4)
    (process,) = request.config.stash[SESSION].room._processes.values()
    Path("pid").write_text(str(process.pid))
    os.kill(os.getpid(), signal.SIGINT)
"""
    )
    pytester.inline_run("--kgate-device=host", "--kgate-budget=0.2", no_reraise_ctrlc=True)
    assert not Path(f"/proc/{(pytester.path / 'pid').read_text()}").exists()


def test_clean_process_ends_with_a_session_that_is_killed():
    told, tell = os.pipe()
    session = os.fork()
    if not session:
        try:
            os.write(tell, str(CleanProcess(HostDevice(), 60.0).pid).encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(session, 0)
    os.close(tell)
    with os.fdopen(told) as file:
        child = int(file.read())
    end = time.monotonic() + 10
    while _lives(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(pid):
    """Whether it has not ended; who adopts orphans here may not reap them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
