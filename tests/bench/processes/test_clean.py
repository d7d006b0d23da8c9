"""Gates that would pass, looked at once more in a process that runs nothing of the candidate."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_kgate.bench.processes.clean.look import CleanLook
from pytest_kgate.bench.processes.clean.look import CleanRoom
from pytest_kgate.bench.processes.clean.problem.candidate_files import files_of
from pytest_kgate.bench.processes.clean.problem.rebuild import Gatekeeper
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.clean.process import CleanProcess
from pytest_kgate.bench.processes.clean.slowdown import Slowdown
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.fingerprint import Fingerprint
from pytest_kgate.problems.problem import Shape
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = [
    pytest.mark.clean_process,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="the clean process needs Linux"),
]

PROBLEMS = """
import functools
import torch
from pytest_kgate import Problem

W = torch.randn(16, 16)

def draw(rows, generator):
    return (torch.randn(rows, 16, generator=generator, device=generator.device),)

def exact(x):
    return torch.relu(x.double())

NAMED = Problem("named", functools.partial(draw, 8), torch.relu, exact)
HELD = Problem("held", lambda g: draw(8, g), lambda x: torch.relu(x), lambda x: torch.relu(x.double()))
LISTED = {"a": Problem("listed", lambda g: draw(8, g), lambda x: torch.relu(x), lambda x: torch.relu(x.double()))}
def made():
    return Problem("made", lambda g: draw(8, g), torch.relu, lambda x: torch.relu(x.double()))

CHANGED = Problem("changed", functools.partial(draw, 8), lambda x: x @ W, lambda x: x.double() @ W.double())
"""

MINE = """
import torch

def candidate(x):
    return torch.relu(x)
"""

IMPORTS_MINE = """
import mine
"""

WRAPPED = """
import functools
import mine

candidate = functools.partial(lambda x: mine.candidate(x))
"""

ATTENTION = """
import pytest, torch
import torch.nn.functional as F
from pytest_kgate import Shape

@pytest.fixture
def problem(sdpa_oracle):
    return sdpa_oracle(Shape(1, 2, 32, 16), dtype="float32", backend="flash")
"""


@pytest.fixture
def records(pytester):
    """Run one session on the host, and return its records."""

    def run(source, *arguments):
        pytester.makepyfile(problems=PROBLEMS, test_it=textwrap.dedent(source))
        pytester.runpytest_inprocess("--kgate-device=host", "--kgate-json=records.json", "--kgate-budget=2", *arguments)
        return json.loads((pytester.path / "records.json").read_text())["records"]

    return run


def test_problem_is_made_anew_where_its_functions_have_names_elsewhere(records):
    found = records(
        ATTENTION
        + """
import problems
from pytest_kgate import Problem

OWN = Problem("own", problems.NAMED.inputs, torch.relu, lambda x: torch.relu(x.double()))

def relu(x):
    return torch.relu(x)

def test_attention(kbench, problem):
    kbench(F.scaled_dot_product_attention, problem, allclose=1e-4)

def test_named(kbench):
    kbench(relu, problems.NAMED, allclose=1e-4)

def test_held(kbench):
    kbench(relu, problems.HELD, allclose=1e-4)

def test_listed(kbench):
    kbench(relu, problems.LISTED["a"], allclose=1e-4)

def test_made(kbench):
    kbench(relu, problems.made(), allclose=1e-4)

def test_candidates_own_module(kbench):
    kbench(relu, OWN, allclose=1e-4)

def test_nameless(kbench):
    problem = Problem("nameless", problems.NAMED.inputs, torch.relu, lambda x: torch.relu(x.double()))
    kbench(relu, problem, allclose=1e-4)

def test_autocast(kbench, problem):
    with torch.autocast("cpu", torch.bfloat16):
        kbench(F.scaled_dot_product_attention, problem, allclose=1e-1)

def test_changed(kbench):
    problems.W.zero_()
    kbench(lambda x: torch.zeros_like(x), problems.CHANGED, allclose=1e-4, weak="allow")
"""
    )
    looked = {one["test"].partition("::test_")[2]: one["integrity"]["clean"] for one in found}
    assert {one["verdict"] for one in found} == {"PASS"}
    assert {name for name, clean in looked.items() if clean["done"]} == {"attention", "named", "held", "listed", "made"}
    assert looked["attention"]["answers"] == 4
    assert looked["candidates_own_module"]["why"] == "the problem own is in the candidate's own module"
    assert looked["autocast"]["why"] == "autocast is on in the tests' process"
    assert looked["nameless"]["why"].startswith("the problem's exact has no name in a module")
    assert looked["changed"]["why"] == "the reference's answers from the tests' process are wrong there"


@pytest.mark.parametrize("clean", ["auto", "off"])
def test_comparison_that_is_patched_passes_only_without_the_clean_process(records, clean):
    (found,) = records(
        ATTENTION
        + """
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.integrity.tampering.monkeypatches import MonkeypatchDetector

def test_it(kbench, problem, monkeypatch):
    monkeypatch.setattr(MonkeypatchDetector, "changed", lambda self: [])
    monkeypatch.setattr(ExactAnswer, "_errors", lambda self, answer, slab: torch.zeros_like(self._wide(slab)))
    kbench(lambda q, k, v: q + 1, problem, allclose=1e-4, weak="allow")
""",
        f"--kgate-clean={clean}",
    )
    assert found["verdict"] == ("INVALID" if clean == "auto" else "PASS")
    if clean == "auto":
        assert "clean process, which runs nothing of the candidate: max |candidate - exact| is" in found["reason"]
        assert found["integrity"]["findings"][0]["check"] == "clean"


@pytest.mark.parametrize("clean", ["auto", "off"])
def test_reference_that_is_slowed_down_here_is_charged(records, clean):
    (found,) = records(
        ATTENTION
        + """
from pytest_kgate.integrity.tampering.monkeypatches import MonkeypatchDetector

real = F.scaled_dot_product_attention

def slow(*inputs, **options):
    for _ in range(15):
        real(*inputs, **options)
    return real(*inputs, **options)

def test_it(kbench, problem, monkeypatch):
    monkeypatch.setattr(MonkeypatchDetector, "changed", lambda self: [])
    monkeypatch.setattr(F, "scaled_dot_product_attention", slow)
    kbench(lambda q, k, v: real(q, k, v), problem, allclose=1e-4, speedup=0.5)
""",
        f"--kgate-clean={clean}",
        "--kgate-budget=20",  # on a busy machine
    )
    assert found["verdict"] == ("INVALID" if clean == "auto" else "PASS")
    if clean == "auto":
        assert "times as long in the tests' process" in found["reason"]
        assert found["integrity"]["clean"]["charged"] > 2


def slowdown(here, there, margin=0.05):
    return Slowdown(tuple(here), tuple(there), margin)


def judgement(high, bound):
    return Judgement(
        SpeedGate(bound), Verdict.PASS, "", 12, ratio=Interval(high / 2, high / 1.5, high, 0.95, "blocks-t")
    )


@pytest.mark.parametrize(
    ("factor", "noise", "missed"),
    [(1.0, 0.3, False), (1.04, 0.001, False), (1.5, 0.01, True), (1.1, 0.01, False), (4.0, 0.3, True)],
)
def test_only_what_is_beyond_noise_and_margin_is_charged(factor, noise, missed):
    rng = np.random.default_rng(1)
    there = 1e-5 * np.exp(noise * rng.standard_normal(16))
    here = factor * 1e-5 * np.exp(noise * rng.standard_normal(16))
    gate = judgement(high=0.8, bound=0.95)
    assert (slowdown(here, there).unproven([gate]) is not None) == missed


def test_machine_that_slows_down_both_processes_alike_accuses_nobody():
    drift = np.exp(np.linspace(0.0, 2.0, 16))
    gate = judgement(high=0.94, bound=0.95)
    assert slowdown(1e-5 * drift, 1e-5 * drift).unproven([gate]) is None


@pytest.mark.parametrize("seed", range(3))
def test_honest_gates_are_not_accused_by_noise(seed):
    rng = np.random.default_rng(seed)
    gate = judgement(high=0.949, bound=0.95)
    found = [slowdown(*np.exp(0.2 * rng.standard_normal((2, 16)))) for _ in range(200)]
    assert sum(one.unproven([gate]) is not None for one in found) == 0


@pytest.fixture
def process():
    """A clean process, with no session around it."""
    started = CleanProcess(HostDevice(), timeout_seconds=1.0)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("number", "how"),
    [(signal.SIGKILL, "signal SIGKILL ended it"), (signal.SIGSTOP, "it did not answer within 1 s")],
)
def test_clean_process_that_dies_or_hangs_is_said_and_changes_nothing_else(process, number, how):
    device, room = HostDevice(), CleanRoom()
    room._processes["cpu"] = process
    os.kill(process.pid, number)
    look = CleanLook(room, request(), device)
    look.kept.checked("normal", 1, Fingerprint((torch.zeros(2),)), torch.zeros(2))
    builder = SimpleNamespace(
        may_pass=True,
        integrity=SimpleNamespace(warnings=[], clean=None, findings=[], phase_over=lambda: None),
        reference=SimpleNamespace(backend="math"),
    )
    look.run(builder, lambda complaint: None)
    assert builder.integrity.clean["why"] == f"the clean process was lost: {how}"
    assert len(builder.integrity.warnings) == 1
    look.run(builder, lambda complaint: None)
    assert builder.integrity.clean["why"] == f"the clean process was lost before: {how}"
    assert len(builder.integrity.warnings) == 1
    look.kept.close()


def request():
    return SimpleNamespace(
        problem=sdpa_problem(Shape(1, 1, 16, 16), "float32", "math"),
        candidate=torch.relu,
        error=ErrorGate(1e-4),
        speed=(),
        settings=SimpleNamespace(timeout=1.0),
    )


def test_no_process_is_left_behind_by_an_interrupted_session(pytester):
    pytester.makepyfile(
        test_it=ATTENTION
        + """
import os, signal
from pathlib import Path
from pytest_kgate.session.session import SESSION

def test_it(kbench, problem, request):
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


def test_module_of_the_candidate_is_never_imported(pytester, monkeypatch):
    pytester.makepyfile(mine=MINE, problems=PROBLEMS + IMPORTS_MINE)
    for name in ("mine", "problems"):  # of other tests
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    keeper = Gatekeeper()
    sys.meta_path.insert(0, keeper)
    monkeypatch.syspath_prepend(pytester.path)
    keeper.keep_out({str(pytester.path / "mine.py")})
    named = {"module": "problems", "path": ["exact"], "file": str(pytester.path / "problems.py")}
    functions = dict.fromkeys(("inputs", "reference", "exact"), named)
    recipe = {"backend": None, "functions": functions}
    with pytest.raises(NotRebuilt, match="problems can't be imported there: it imports the candidate's module mine"):
        rebuilt(recipe)
    assert "mine" not in sys.modules


def test_files_of_a_candidate_are_those_of_all_that_it_calls(pytester, monkeypatch):
    pytester.makepyfile(mine=MINE, wrapped=WRAPPED)
    monkeypatch.syspath_prepend(pytester.path)
    import wrapped

    assert {Path(one).name for one in files_of(wrapped.candidate)} == {"mine.py", "wrapped.py"}
    assert files_of(torch.relu) == frozenset()
