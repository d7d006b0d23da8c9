"""Gates that would pass, looked at once more in a process that runs nothing of the candidate."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401

pytestmark = [
    pytest.mark.clean_process,
    pytest.mark.usefixtures("one_thread", "warm"),
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


@pytest.fixture
def the_only(records):
    """As `records`, of one gate."""
    return lambda *source_and_arguments: records(*source_and_arguments)[0]


@pytest.fixture
def charged(the_only):
    """As `records`, of one gate that is to be INVALID: on a busy machine a clean process may be as slow."""

    def run(*source_and_arguments):
        for _ in range(4):
            found = the_only(*source_and_arguments)
            if found["verdict"] == "INVALID":
                break
        return found

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
    done = {"attention", "named", "held", "listed", "made", "candidates_own_module"}
    assert {name for name, clean in looked.items() if clean["done"]} == done
    assert looked["attention"]["answers"] == 4
    assert {name for name, clean in looked.items() if "imports_candidate" in clean} == {"candidates_own_module"}
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
def test_reference_that_is_slowed_down_here_is_charged(request, clean):
    found = request.getfixturevalue("charged" if clean == "auto" else "the_only")(
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


OWN = """
import numpy as np
import pytest
import torch
from pytest_kgate import Problem

def plus_one(x):
    return torch.from_numpy(np.add(x.numpy(), 1.0, dtype=np.float64).astype(np.float32))

PROBLEM = Problem("own", lambda g: (torch.randn(128, 512, generator=g),), plus_one, lambda x: x.double() + 1)

def candidate(x):
    np.setbufsize(8192)
    answer = plus_one(x)
    np.setbufsize(16)  # which no list of ours has
    return answer
"""


def test_reference_in_the_candidates_module_that_its_calls_slow_down_is_charged(charged):
    found = charged(
        OWN
        + """
def test_it(kbench):
    kbench(candidate, PROBLEM, allclose=1e-4, speedup=0.8)
""",
        "--kgate-budget=20",  # on a busy machine
    )
    assert found["verdict"] == "INVALID", found["integrity"]["clean"]
    assert "which imports the candidate's module and never calls it: against the reference there" in found["reason"]
    assert found["integrity"]["clean"]["charged"] > 2


def test_problem_beside_an_import_of_the_candidates_module_is_looked_at(records, pytester):
    own = "import torch\ndef candidate(x): return torch.relu(x)"
    pytester.makepyfile(own_relu=own, beside=PROBLEMS + "import own_relu")
    (found,) = records(
        """
        import beside

        def test_it(kbench):
            kbench(beside.own_relu.candidate, beside.HELD, allclose=1e-4)
        """
    )
    assert found["integrity"]["clean"]["done"]
    assert found["integrity"]["clean"]["imports_candidate"]
