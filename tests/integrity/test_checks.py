"""The checks as a user meets them: in the record, by option, and with secret seeds."""

from __future__ import annotations

import importlib
import textwrap

import pytest
import torch
from record_schema import demand_valid

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.report.record.document import load


@pytest.fixture(autouse=True, scope="module")
def _compiler_is_known() -> None:
    """A session below imports it, and it can't be imported twice. Not as tests are collected: all workers would pay."""
    importlib.import_module("torch._inductor.config")


BEFORE = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(64, 64, generator=g),),
    reference=lambda x: [torch.relu(x.double()) for _ in range(20)][0].float(),
    exact=lambda x: torch.relu(x.double()),
)
"""

HONEST = """
def test_one(kbench):
    kbench(torch.relu, RELU, budget=0.2)
"""
"""Nothing is demanded, so that no busy machine can leave a race undecided; the checks are the same."""


@pytest.fixture
def play(pytester):
    def play(body, *arguments):
        pytester.makepyfile(BEFORE + textwrap.dedent(body))
        result = pytester.runpytest_inprocess("--kgate-device=host", "--kgate-json=records.json", *arguments)
        return result, load(pytester.path / "records.json")

    return play


def test_honest_candidate_passes_all_checks_and_the_record_names_them(play):
    pytest.importorskip("jsonschema")
    _, (record,) = play(HONEST)
    assert record["integrity"]["findings"] == []
    checks = record["integrity"]["checks"]
    assert {checks[name] for name in ("originals", "state", "zones", "stream", "memory", "threads")} == {"passed"}
    assert checks["host"].startswith("not run: ")
    assert record["integrity"]["seconds_spent"] > 0
    document = {"schema": "pytest-kgate/records", "version": 1, "created": record["started"], "records": [record]}
    demand_valid(document)


def test_checks_can_be_turned_off(play):
    body = """
    def test_one(kbench):
        kbench(torch.relu, RELU, own=True, budget=0.2)
    """
    _, (record,) = play(body, "--kgate-integrity=off")
    assert record["integrity"]["checks"] == {}
    assert record["verdict"] == "MEASURED"


def test_claim_of_an_own_kernel_is_the_callers_to_make(play):
    body = """
    RELU = Problem(
        name="softmax",
        inputs=RELU.inputs,
        reference=lambda x: [torch.softmax(x.double(), 0) for _ in range(20)][0].float(),
        exact=lambda x: torch.softmax(x.double(), 0),
    )

    @pytest.mark.parametrize("own", [None, True])
    def test_one(kbench, own):
        kbench(lambda x: torch.softmax(x, 0), RELU, own=own, budget=0.2)
    """
    _, (unclaimed, claimed) = play(body)
    assert unclaimed["verdict"] == "MEASURED"
    assert claimed["verdict"] == "INVALID"
    assert "is no kernel of its own: it runs aten::softmax" in claimed["reason"]


def test_changed_setting_makes_the_gate_invalid_and_is_put_back(play):
    body = """
    def test_one(kbench):
        kbench(lambda x: (torch.set_num_threads(1), torch.relu(x))[1], RELU, budget=0.2)

    def test_two():
        assert torch.get_num_threads() != 1
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result, (record,) = play(body)
    finally:
        torch.set_num_threads(threads)
    result.assert_outcomes(passed=1, failed=1)
    assert record["verdict"] == "INVALID"
    assert "torch.get_num_threads: 2 -> 1" in record["reason"]


@pytest.mark.secret_seed
def test_seeds_are_new_for_each_call_and_a_recorded_one_repeats_it(play):
    body = """
    def test_one(kbench):
        kbench(torch.relu, RELU, budget=0.05)
        kbench(torch.relu, RELU, budget=0.05)
    """
    _, (first, second) = play(body)
    assert first["seeds"]["session"] != second["seeds"]["session"]
    _, (again, _) = play(body, f"--kgate-seed={first['seeds']['session']}")
    assert again["correctness"]["draws"] == first["correctness"]["draws"]
    assert again["correctness"]["draws"] != second["correctness"]["draws"]


def test_slow_host_is_told_where_the_timer_does_not_see_it():
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.fake.device import FakeDevice
    from pytest_kgate.integrity.checks.findings import Findings
    from pytest_kgate.integrity.checks.of_candidate import CandidateChecks
    from pytest_kgate.problems.problem import Problem

    class Gpu(FakeDevice):
        kind = "cuda"

    def judged(seconds, timer="graph"):
        problem = Problem("any", lambda g: (), lambda: None, lambda: None)
        arm = Arm("candidate", lambda inputs, output: None, False)
        device, findings = Gpu({"candidate": 1e-5, "reference": 1e-5}), Findings()
        checks = CandidateChecks(arm, device, problem, findings, own=False, says=["any"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pytest_kgate.integrity.side_effects.background.host_seconds", lambda device, call: seconds)
            checks._check_host(lambda: None, timer, 10e-6)
        return [finding.check for finding in findings.all], len(findings.warnings)

    assert judged(20e-6) == ([], 0)
    assert judged(100e-6) == ([], 1)
    assert judged(5e-3) == (["host"], 0)
    assert judged(5e-3, "eager") == ([], 0)
