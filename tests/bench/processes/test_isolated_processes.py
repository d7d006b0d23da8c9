"""A gate over several processes, each of which has the candidate isolated: for sources that nobody trusts."""

from __future__ import annotations

import sys

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid

import pytest_kgate.bench.call  # noqa: F401
from pytest_kgate.bench.processes.isolated import isolation_of
from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import load

CONFTEST = """
import json
import os
import torch
from pytest_kgate.integrity.isolation import stopwatch

torch.set_num_threads(1)
stopwatch._ROW_SECONDS = {"host": 1e-3}
os.environ["TURN"] = "0"
if "KGATE_PROCESS" in os.environ:
    with open(os.environ["KGATE_PROCESS"]) as file:
        os.environ["TURN"] = str(json.load(file)["process"])
"""

CANDIDATES = """
import os

def honest(x):
    return x @ x

def turns_wrong(x):
    return x @ x * (os.environ["TURN"] != "1")
"""

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

SQUARE = Problem(
    name="square",
    inputs=lambda g: (torch.randn(96, 96, generator=g),),
    reference=lambda x: [x @ x for _ in range(40)][0],
    exact=lambda x: x.double() @ x.double(),
)

@pytest.mark.allclose(1e-3)
@pytest.mark.speedup(0.9)
@pytest.mark.parametrize("function", ["honest", "turns_wrong"])
def test_it(kbench, function):
    kbench(f"theirs.py:{function}", SQUARE)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")
def test_each_process_judges_an_isolated_candidate_afresh(warm, pytester):
    """What a candidate does in one of them only is found, and that one is named."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=TESTS, theirs=CANDIDATES)
    options = ["--kgate-isolate", "--kgate-processes=3", "--kgate-budget=0.2", "--kgate-device=host"]
    pytester.runpytest_inprocess(*options, "--kgate-json=records.json")
    honest, turned = load(pytester.path / "records.json")
    demand_valid(document([honest, turned]))
    assert (turned["verdict"], turned["reason"][:16]) == ("WRONG", "process 1 of 3: ")
    # How fast a row comes is for a busy machine to say; nothing may be held against the candidate but that.
    assert honest["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE", "INVALID"), honest["reason"]
    isolation = honest["isolation"]
    if honest["timing"]:
        assert len(honest["timing"]["processes"]) == 3
        assert isolation["launched_by"] == "candidate"
        assert isolation["reference_slowed"] > 0
        assert len(set(isolation["lots"])) == isolation["verified"] >= honest["timing"]["rounds"] // 3


def _of_process(slowed, lots):
    facts = {"confined": {"landlock": 6, "seccomp": True}, "launched_by": "candidate", "calls_in_a_row": 4}
    return {"isolation": {**facts, "verified": len(lots), "lots": lots, "reference_slowed": slowed}}


def test_what_the_processes_slowed_the_reference_by_is_charged_to_the_candidate():
    judge = {"isolation": {**_of_process(None, [])["isolation"], "launched_by": None, "calls_in_a_row": None}}
    found = isolation_of(judge, [_of_process(1.21, [1, 2]), _of_process(1.0, [3]), _of_process(1.1, [])])
    assert (found["launched_by"], found["verified"], found["lots"]) == ("candidate", 3, [1, 2, 3])
    assert found["reference_slowed"] == pytest.approx(1.1)
    gate = {"bound": 0.95, "ratio": {"high": 0.86}}
    assert slowed_down(found, [gate]) is None
    assert "the reference took 1.1000 times" in slowed_down(found, [gate, {"bound": 0.95, "ratio": {"high": 0.87}}])
