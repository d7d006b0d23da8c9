"""What users of --kgate-profile and of metrics markers see, with a stand-in for ncu on PATH."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from sample_suite import fake_device
from stand_in_ncu import TESTS

import pytest_kgate.bench.call
import pytest_kgate.profile.nsight.collection.marker
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.profile.under_tool import program
from pytest_kgate.report.record.document import load

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

OPTIONS = ("--kgate-profile", "--kgate-json=records.json", "--kgate-budget=0.2")


def records_of(pytester):
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    return {(one["test"].partition("::")[2], one["call"]): one for one in load(pytester.path / "records.json")}


def starts(calls):
    return [call for call in calls if "--import" not in call and call != ["--version"]]


def test_all_tests_share_one_process_and_records_have_both_arms_of_each_call(suite, ncu):
    pytester = suite(
        TESTS
        + """
@pytest.mark.parametrize("asserts", [True, False])
def test_two_calls(kbench, asserts):
    first = kbench(good, SILU)
    several = {"slower": torch.nn.functional.silu, "faster": torch.nn.functional.silu}
    second = kbench(good, Problem("silu", SILU.inputs, several, SILU.exact))
    if asserts:
        assert first["counters"]["candidate"] is not None, "only below ncu"
"""
    )
    result = pytester.runpytest_inprocess(*OPTIONS, "--kgate-profile-keep=reports")
    result.assert_outcomes(passed=3)
    records = records_of(pytester)
    assert len(records) == 5
    result.stdout.re_match_lines([r"test_two_calls\[True\] \(2\) +\d\.0 / \d\.0 .*-bound$"])
    durations: dict[str, set[float]] = {"candidate": set(), "reference": set()}
    for record in records.values():
        counters = record["counters"]
        assert (counters["state"], counters["reason"], counters["tool"]) == ("measured", "", "ncu 2025.3.1.0")
        assert (counters["replay"], counters["cache_control"], counters["clock_control"]) == ("kernel", "none", "none")
        for arm, found in durations.items():
            assert counters[arm]["launch_count"] == 1
            found.add(counters[arm]["launches"][0]["metrics"]["gpu__time_duration.sum"])
    assert len(durations["candidate"]) == 5, "each call of the candidate has a launch of its own"
    assert len(durations["reference"]) == 1, "it is one function on one draw of inputs"
    (start,) = starts(ncu())
    assert dict(itertools.pairwise(start))["--set"] == "basic"
    assert not [call for call in ncu() if "--import" in call], "to read is no start of its own"
    (report,) = (pytester.path / "reports").iterdir()
    assert report.name == "test_mine-test_one-and-2-more.ncu-rep"
    assert {record["counters"]["report"] for record in records.values()} == {str(report)}
    assert records["test_one", 0]["counters"]["sections"] == ["basic"]


@pytest.mark.parametrize("broken", ["silent", "short"])
def test_a_report_whose_table_was_not_printed_whole_is_read_afterwards(suite, ncu, monkeypatch, broken):
    monkeypatch.setenv("BROKEN", broken)
    pytester = suite()
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)
    (record,) = records_of(pytester).values()
    assert record["counters"]["candidate"]["launch_count"] == 1
    assert [call[0] for call in ncu() if "--import" in call] == ["--import"]


def test_the_record_says_where_the_seconds_went(suite, ncu):
    pytester = suite()
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)
    (record,) = records_of(pytester).values()
    phases = dict(record["counters"]["phases"])
    assert sum(phases.values()) == pytest.approx(record["counters"]["seconds"])
    assert phases["start"] > 0 < phases["collection"]
    assert phases["preparation"] > 0 < phases["counting"]


@pytest.mark.parametrize("watched_python", [sys.executable], ids=["python itself"])
def test_a_watched_process_imports_nothing_that_only_a_race_needs(suite, ncu):
    pytester = suite(
        TESTS
        + """
def test_imports(kbench):
    import gc, sys
    kbench(good, SILU)
    if "KGATE_UNDER_TOOL" in os.environ:
        assert gc.isenabled(), "tests may make garbage that holds memory"
        races = ("scipy", "pytest_kgate.bench.call", "pytest_kgate.bench.race.race", "pytest_kgate.integrity.checks")
        with open("imported.txt", "w") as file:
            file.write(" ".join(name for name in races if name in sys.modules))
"""
    )
    pytester.runpytest_inprocess(*OPTIONS, "-k", "imports").assert_outcomes(passed=1, deselected=1)
    assert (pytester.path / "imported.txt").read_text() == ""


def test_a_test_that_takes_the_process_down_says_so_and_the_others_are_counted(suite, ncu, monkeypatch):
    monkeypatch.setenv("PRETENDS", "test_falls")
    pytester = suite(
        TESTS
        + """
def test_falls(kbench):
    kbench(good, SILU)

def test_last(kbench):
    kbench(good, SILU)
"""
    )
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(passed=3)
    counters = {test: record["counters"] for (test, _), record in records_of(pytester).items()}
    states = {test: one["state"] for test, one in counters.items()}
    assert states == {"test_one": "measured", "test_falls": "not measured", "test_last": "measured"}
    assert "an illegal memory access was encountered" in counters["test_falls"]["reason"]


METRICS = """
@pytest.mark.parametrize(
    "fastest_clock", [pytest.param("at least 0.5 waves", marks=pytest.mark.metrics(waves=">= 0.5")),
              pytest.param("at most 0.5", marks=pytest.mark.metrics(waves="<= 0.5"))])
@pytest.mark.metrics({"my__counter.sum": "<= 1000"})
def test_bounds(kbench, fastest_clock):
    kbench(good, SILU)
"""


def test_a_metrics_marker_is_judged_on_the_candidates_counters(suite, ncu, monkeypatch):
    monkeypatch.setenv("PRETENDS", "none does")
    pytester = suite(TESTS + METRICS)
    result = pytester.runpytest_inprocess("--kgate-json=records.json", "--kgate-budget=0.2")
    result.assert_outcomes(passed=2, failed=1)
    records = records_of(pytester)
    assert "counters" not in records["test_one", 0], "nobody has asked for them"
    passed, failed = records["test_bounds[at least 0.5 waves]", 0], records["test_bounds[at most 0.5]", 0]
    assert [(one["name"], one["verdict"]) for one in passed["limits"]] == [
        ("my__counter.sum", "PASS"),
        ("waves", "PASS"),
    ]
    assert (failed["verdict"], failed["limits"][1]["verdict"]) == ("FAIL", "FAIL")
    assert "waves" in failed["reason"]
    (start,) = starts(ncu())
    assert "my__counter.sum" in counted_by(start)
    assert "test_one" not in " ".join(start)


def counted_by(start):
    return dict(itertools.pairwise(start))["--metrics"].split(",")


STALLED = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"


def test_what_warps_wait_for_is_counted_only_where_it_is_asked_for(suite, ncu, monkeypatch):
    monkeypatch.setenv("PRETENDS", "none does")
    pytester = suite(
        TESTS + '\n@pytest.mark.metrics(stall_wait="<= 9")\ndef test_waits(kbench):\n    kbench(good, SILU)\n'
    )
    pytester.runpytest_inprocess(*OPTIONS, "-k", "test_one").assert_outcomes(passed=1, deselected=1)
    (usual,) = map(counted_by, starts(ncu()))
    assert not [name for name in usual if "stalled" in name or "tensor_src" in name]
    assert "stall_wait" not in records_of(pytester)["test_one", 0]["counters"]["candidate"]["metrics"]
    pytester.runpytest_inprocess(*OPTIONS, "-k", "test_waits")
    *_, named = map(counted_by, starts(ncu()))
    assert [name for name in named if "stalled" in name] == [STALLED.format("wait")]
    assert records_of(pytester)["test_waits", 0]["limits"][0]["name"] == "stall_wait"
    pytester.runpytest_inprocess(*OPTIONS, "-k", "test_one", "--kgate-profile-counters=all")
    *_, every = map(counted_by, starts(ncu()))
    assert {*usual, *named, STALLED.format("barrier")} < set(every)
    assert "stall_barrier" in records_of(pytester)["test_one", 0]["counters"]["candidate"]["metrics"]


@pytest.mark.parametrize(("option", "outcome"), [((), "skipped"), (("--kgate-require-metrics",), "failed")])
def test_without_ncu_a_metrics_marker_is_not_measured(suite, monkeypatch, option, outcome):
    monkeypatch.setattr(program, "_candidates", lambda name: iter(()))
    pytester = suite(TESTS + METRICS)
    result = pytester.runpytest_inprocess(*OPTIONS[1:], *option, "-rs", "-k", "least", "--kgate-integrity=off")
    result.assert_outcomes(**{outcome: 1}, deselected=2)
    assert "ncu was not found" in result.stdout.str()
    (record,) = records_of(pytester).values()
    assert (record["verdict"], record["counters"]["state"]) == ("NOT MEASURED", "not measured")


def test_candidates_on_the_host_have_no_counters(pytester, ncu):
    pytester.makeconftest(fake_device())
    pytester.makepyfile(test_mine=TESTS)
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)
    assert "runs on the host" in records_of(pytester)["test_one", 0]["counters"]["reason"]
    assert ncu() == []


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("tensor=60", "does not say whether more or less is demanded"),
        ('tensr=">= 60 %"', "There is no metric 'tensr'. Did you mean 'tensor'?"),
        ("", "No metric is demanded"),
    ],
)
def test_a_marker_that_makes_no_sense_ends_the_collection(pytester, marker, said):
    pytester.makepyfile(f"import pytest\n@pytest.mark.metrics({marker})\ndef test_it():\n    pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
    result.stderr.fnmatch_lines(["*Usage: @pytest.mark.metrics(*tables, **bounds)*"])


def test_a_bound_in_times_the_problems_bytes_needs_a_problem_that_says_them(suite, ncu):
    pytester = suite(TESTS + '\n@pytest.mark.metrics(dram="<= 1.2x")\ndef test_it(kbench):\n    kbench(good, SILU)\n')
    result = pytester.runpytest_inprocess(*OPTIONS, "-k", "test_it")
    result.assert_outcomes(failed=1, deselected=1)
    assert "Problem(bytes=...)" in result.stdout.str()


def test_a_folder_for_reports_that_is_a_file_is_refused_before_anything_runs(pytester):
    pytester.makepyfile(test_mine=TESTS)
    result = pytester.runpytest_inprocess("--kgate-profile-keep=test_mine.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--kgate-profile-keep names a file" in result.stderr.str()


def test_a_session_that_asks_for_no_counters_neither_loads_nor_starts_anything(suite, ncu):
    pytester = suite(
        TESTS
        + """
def test_nothing_is_loaded(kbench):
    import sys
    kbench(good, SILU)
    assert [name for name in sys.modules if name.startswith("pytest_kgate.profile.nsight")] == []
"""
    )
    result = pytester.runpytest_subprocess("--kgate-json=records.json", "--kgate-budget=0.2")
    result.assert_outcomes(passed=2)
    assert "counters" not in records_of(pytester)["test_one", 0]
    assert ncu() == []
