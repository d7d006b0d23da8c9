"""`kgate selftest` and --kgate-selftest as a user meets them: what is run, what is printed, the exit status."""

from __future__ import annotations

import json

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid

import pytest_kgate.bench.call
import pytest_kgate.bench.correctness.selftest
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.selftest
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate import cli
from pytest_kgate.report.record.document import load
from pytest_kgate.report.rows import rows_of
from pytest_kgate.report.text.selftest import selftest_table

SUITE = """
import math
import pytest
import torch
from pytest_kgate import Problem

def problem(name, inputs):
    return Problem(name, inputs, reference=torch.relu, exact=lambda x: torch.relu(x.double()))

STRONG = problem("relu 64x64", lambda g: (torch.randn(64, 64, generator=g),))
WEAK = problem("relu of ones", lambda g: (torch.ones(64, 64),))

def never(x):
    raise AssertionError("raced")

@pytest.mark.speedup(0.95)
def test_strong(kbench):
    kbench(never, STRONG)

def test_weak(kbench):
    kbench(never, WEAK)

@pytest.mark.allclose(10.0, factor=math.inf)
def test_loose(kbench):
    kbench(torch.relu, STRONG, budget=0.1)

def test_without_a_check():
    raise AssertionError("run")
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(test_mine=SUITE)
    return pytester


@pytest.mark.parametrize("processes", [1, 3])
def test_strong_check_passes_without_a_race(suite, processes):
    asked = f"--kgate-processes={processes}"
    result = suite.runpytest_inprocess("--kgate-selftest", asked, "-k", "strong or without")
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(["relu 64x64 *15/15*none*", "zeros *1/1*", "15 of 15 mutants died (100 %)*0 weak"])


def test_weak_checks_fail_and_say_what_lives_and_what_to_do(suite):
    result = suite.runpytest_inprocess("--kgate-selftest", "--kgate-json=records.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=2, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL: the check of relu of ones",
            "*lets 3 of 12 mutants pass: one number everywhere, a remembered answer, the*",
            "*draw inputs whose answers differ from draw to draw*",
            "*kgate selftest test_mine.py::test_weak *--kgate-seed 42",
        ]
    )
    records = load(suite.path / "records.json")
    assert [record["verdict"] for record in records] == ["PASS", "FAIL", "FAIL"]
    assert all(record["timing"] is None and record["gates"] == [] for record in records)
    assert [row.notes for row in rows_of(records)] == ["selftest"] * 3
    assert records[1]["selftest"]["lived"] == ["one number everywhere", "a remembered answer", "the answer before"]


def test_records_of_a_selftest_keep_to_the_schema(suite):
    pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")
    suite.runpytest_inprocess("--kgate-selftest", "--kgate-json=records.json")
    demand_valid(json.loads((suite.path / "records.json").read_text()))


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_name_what_lives(suite, width):
    suite.runpytest_inprocess("--kgate-selftest", "--kgate-json=records.json")
    lines = selftest_table(load(suite.path / "records.json"), width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["problem", "died", "lived"]
    text = " ".join(" ".join(lines).split())
    assert "one number everywhere, a remembered answer" in text
    assert "of what" in text
    assert lines[-1].endswith("checks of 3 problems, 2 weak")


def test_gate_whose_check_lets_idle_answers_pass_fails_unless_the_test_allows_it(suite):
    result = suite.runpytest_inprocess("-k", "loose", "--kgate-json=weak.json")
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    (record,) = load(suite.path / "weak.json")
    assert record["verdict"] == "WEAK"
    assert record["reason"].startswith("the check would also let pass zeros")
    result.stdout.fnmatch_lines(["WEAK: *", "*the check would also let pass zeros*", "1 WEAK"])

    result = suite.runpytest_inprocess("-k", "loose", "--kgate-weak=allow", "--kgate-json=records.json")
    result.assert_outcomes(passed=1)
    (record,) = load(suite.path / "records.json")
    assert record["verdict"] == "PASS"
    assert "zeros" in record["correctness"]["weak"]
    assert any(warning.startswith("the check is weak: it would also let pass zeros") for warning in record["warnings"])
    result.stdout.fnmatch_lines(["warning: the check is weak*"])


def test_coarse_answer_is_wrong_though_it_is_within_the_tolerance(suite):
    suite.makepyfile(
        test_coarse=SUITE
        + """
@pytest.mark.allclose(1.0)
def test_coarse(kbench):
    kbench(lambda x: torch.relu(x).bfloat16().float(), STRONG)
"""
    )
    result = suite.runpytest_inprocess("test_coarse.py::test_coarse")
    result.stdout.fnmatch_lines(["WRONG: *", "*the rms error is * times rounding's*", "*accumulate in float32*"])


def test_verb_runs_pytest_and_returns_its_status(warm, suite, monkeypatch, capfd):
    monkeypatch.chdir(suite.path)
    assert cli.main(["selftest", "-q", "test_mine.py::test_strong"]) == 0
    assert "15 of 15 mutants died" in capfd.readouterr().out
    assert cli.main(["selftest", "test_mine.py", "-k", "weak", "-q"]) == 1


def test_verb_says_when_no_test_has_a_check(warm, suite, monkeypatch, capfd):
    monkeypatch.chdir(suite.path)
    assert cli.main(["selftest", "test_mine.py::test_without_a_check"]) == 2
    assert "None of these tests calls kbench." in capfd.readouterr().err
