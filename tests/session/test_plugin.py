"""What a user of the plugin sees: fixtures, order of work, verdicts as test outcomes, records, the summary."""

from __future__ import annotations

import json
import re
import signal
import textwrap

import pytest

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.report.record.document import load

GATED = """
@pytest.mark.perf
@pytest.mark.allclose(1e-6)
@pytest.mark.speedup(0.95)
def test_gate(kbench):
    kbench(good, RELU)
"""


@pytest.mark.parametrize(("ratio", "outcome"), [(0.8, "passed"), (1.2, "failed")])
def test_gate_decides_the_test(suite, ratio, outcome):
    result = suite(GATED, ratio).runpytest_inprocess()
    result.assert_outcomes(**{outcome: 1})


def test_failure_is_a_table_without_traceback(suite):
    result = suite(GATED, 1.2).runpytest_inprocess()
    result.stdout.fnmatch_lines(["*demanded*0.95*", "*measured*1.2*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*plugin.py*")
    result.stdout.no_fnmatch_line("*fixtures.py*")


def test_wrong_kernel_is_never_timed(suite):
    pytester = suite(GATED.replace("good", "wrong"), 0.1)
    result = pytester.runpytest_inprocess("--kgate-json=records.json")
    result.assert_outcomes(failed=1)
    (record,) = load(pytester.path / "records.json")
    assert record["verdict"] == "WRONG"
    assert record["timing"] is None
    result.stdout.fnmatch_lines(["*max |candidate - exact| is 0.5*"])


def test_wrong_kernel_is_never_timed_even_without_a_tolerance(suite):
    body = "@pytest.mark.speedup(0.95)\ndef test_gate(kbench):\n    kbench(wrong, RELU)\n"
    suite(body, 0.1).runpytest_inprocess().assert_outcomes(failed=1)


def test_without_markers_all_is_measured_and_nothing_judged(suite):
    body = """
    def test_measure(kbench):
        record = kbench(wrong, RELU)
        assert record["verdict"] == "MEASURED"
        assert record["timing"]["ratio"]["low"] < 1.5 < record["timing"]["ratio"]["high"]
        assert any("not judged" in warning for warning in record["warnings"])
    """
    suite(body, 1.5).runpytest_inprocess().assert_outcomes(passed=1)


def test_all_stacked_markers_must_hold(suite):
    body = GATED.replace(
        "@pytest.mark.speedup(0.95)", "@pytest.mark.speedup(0.95)\n@pytest.mark.speedup(0.5, quantile=0.9)"
    )
    pytester = suite(body, 0.8)
    pytester.runpytest_inprocess("--kgate-json=records.json").assert_outcomes(failed=1)
    (record,) = load(pytester.path / "records.json")
    assert {gate["bound"]: gate["verdict"] for gate in record["gates"]} == {0.95: "PASS", 0.5: "FAIL"}


@pytest.mark.parametrize(("choice", "outcome"), [("fail", "failed"), ("skip", "skipped"), ("warn", "passed")])
def test_inconclusive_is_what_the_user_says_it_is(suite, choice, outcome):
    result = suite(GATED, 0.95).runpytest_inprocess(f"--kgate-inconclusive={choice}")
    counts = result.parseoutcomes()
    assert counts[outcome] == 1
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*"])


def test_skip_is_of_the_line_that_called_kbench(suite):
    result = suite(GATED, 0.95).runpytest_inprocess("--kgate-inconclusive=skip", "-rs")
    assert re.search(r"SKIPPED \[1\] test_\w+\.py:\d+: INCONCLUSIVE", result.stdout.str())


@pytest.mark.parametrize("call", ["kbench(good, RELU)", "kbench.soft(good, RELU)"])
def test_warning_is_of_the_line_that_called_kbench(suite, call):
    pytester = suite(GATED.replace("kbench(good, RELU)", call), 0.95)
    result = pytester.runpytest_inprocess("--kgate-inconclusive=warn")
    assert re.search(r"test_\w+\.py:\d+: GateWarning: INCONCLUSIVE", result.stdout.str())


def test_xfail_strict_sees_the_gate(suite):
    expected = GATED.replace("@pytest.mark.perf", "@pytest.mark.perf\n@pytest.mark.xfail(strict=True)")
    suite(expected, 1.2).runpytest_inprocess().assert_outcomes(xfailed=1)
    suite(expected, 0.5).runpytest_inprocess().assert_outcomes(failed=1)


def test_pytest_raises_can_take_the_failure_and_its_record(suite):
    body = """
    from pytest_kgate.session.outcome import GateFailure

    @pytest.mark.speedup(0.95)
    def test_gate(kbench):
        with pytest.raises(GateFailure) as caught:
            kbench(good, RELU)
        assert caught.value.record["verdict"] == "FAIL"
    """
    suite(body, 1.2).runpytest_inprocess().assert_outcomes(passed=1)


def test_junit_shows_the_table(suite):
    pytester = suite(GATED, 1.2)
    pytester.runpytest_inprocess("--junitxml=junit.xml")
    text = (pytester.path / "junit.xml").read_text()
    assert "<failure" in text
    assert "demanded" in text


def test_two_calls_in_one_test_are_both_recorded(suite):
    body = """
    @pytest.mark.speedup(0.95)
    def test_gate(kbench):
        kbench(good, RELU, name="first")
        kbench(good, RELU, name="second")
    """
    pytester = suite(body)
    pytester.runpytest_inprocess("--kgate-json=records.json").assert_outcomes(passed=1)
    records = load(pytester.path / "records.json")
    assert [(record["call"], record["candidate"]["name"]) for record in records] == [
        (0, "first"),
        (1, "second"),
    ]


def test_overrides_of_a_call_beat_the_markers(suite):
    body = """
    @pytest.mark.speedup(0.95)
    @pytest.mark.perf(budget=5)
    def test_gate(kbench):
        record = kbench(good, RELU, budget=7, speedup=0.5, allclose=1e-3)
        assert record["timing"]["budget_seconds"] == 7
        assert [gate["bound"] for gate in record["gates"]] == [0.5]
        assert record["correctness"]["atol"] == 1e-3
    """
    suite(body, 0.3).runpytest_inprocess().assert_outcomes(passed=1)


def test_summary_names_gate_reference_medians_ratio_bound_and_verdict(suite):
    result = suite(GATED, 0.8).runpytest_inprocess()
    text = result.stdout.str()
    summary = text[text.index(" kgate ") :]
    for part in ("test_gate", "relu", "us", "0.80", "0.95", "PASS"):
        assert part in summary


@pytest.mark.secret_seed
def test_session_line_names_device_timer_cache_and_seed(suite):
    result = suite(GATED).runpytest_inprocess()
    said = " ".join(result.stdout.str().split())  # wherever a line ends
    assert re.search(r"kgate: .*torch.*timer.*cache hot.*seed drawn for each call", said)


def test_same_seed_repeats_the_session_and_another_seed_does_not(suite):
    pytester = suite(GATED, 0.94, noise=0.05)
    ratios = []
    for seed in (1, 1, 2):
        pytester.runpytest_inprocess(f"--kgate-seed={seed}", "--kgate-json=records.json")
        (record,) = load(pytester.path / "records.json")
        ratios.append([draw["seed"] for draw in record["correctness"]["draws"]])
    assert ratios[0] == ratios[1] != ratios[2]


def test_trace_of_pytorchs_compiler_is_not_shown_under_a_failure(pytester):
    pytester.makepyfile("""
        import logging

        def test_it():
            for name in ("torch.__trace", "mine"):
                logging.getLogger(name).error("said")
            assert False
    """)
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["ERROR *mine:*said"])
    result.stdout.no_fnmatch_line("ERROR *torch.__trace:*")


def test_records_of_xdist_workers_reach_the_controllers_file_and_what_it_tells_ci(warm, suite, monkeypatch):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    body = """
    @pytest.mark.speedup(0.95)
    @pytest.mark.parametrize("number", range(4))
    def test_gate(kbench, number):
        kbench(good, RELU)
    """
    pytester = suite(body)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    files = ["--kgate-json=records.json", "--junitxml=junit.xml"]
    result = pytester.runpytest_subprocess("-n2", *files, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
    assert (pytester.path / "summary.md").read_text().count("| PASS |") == 4
    assert (pytester.path / "junit.xml").read_text().count('name="kgate.ratio test_') == 4
    assert len(load(pytester.path / "records.json")) == 4
    assert "PASS" in result.stdout.str()


def test_interrupted_session_keeps_the_records_so_far(warm, suite):
    body = """
    @pytest.mark.speedup(0.95)
    def test_first(kbench):
        kbench(good, RELU)

    def test_interrupted(kbench):
        def interrupt(x):
            raise KeyboardInterrupt
        kbench(interrupt, RELU)
    """
    pytester = suite(body)
    result = pytester.runpytest_subprocess("--kgate-json=records.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert [record["verdict"] for record in load(pytester.path / "records.json")] == ["PASS"]


def test_marked_test_that_never_calls_kbench_fails(suite):
    result = suite("@pytest.mark.speedup(0.95)\ndef test_gate():\n    pass\n").runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*never called kbench*"])


def test_environment_in_the_record_tells_versions_and_revision(suite):
    pytester = suite(GATED)
    pytester.runpytest_inprocess("--kgate-json=records.json")
    (record,) = load(pytester.path / "records.json")
    assert {"kgate", "python", "platform", "packages", "git"} <= record["environment"].keys()
    assert json.dumps(record)


def test_ci_log_shows_the_table_once(suite, monkeypatch):
    monkeypatch.setenv("CI", "true")
    text = suite(GATED, 1.2).runpytest_inprocess().stdout.str()
    assert text.count("demanded") == 1
    assert "GateFailure: FAIL: good against relu" in text


def test_error_after_a_fault_of_the_device_is_laid_to_the_fault(pytester, monkeypatch):
    def lost(_):
        raise CandidateError("The context was lost.", "Run this test again.")

    monkeypatch.setattr(HostDevice, "synchronize", lost)
    pytester.makepyfile("def test_after(kbench): assert False, 'of PyTorch'")
    result = pytester.runpytest_inprocess("--kgate-device=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*of PyTorch", "*The context was lost.", "Run this test again."])


TIME_LIMIT = '''
import signal

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """As pytest-timeout does by its signal method."""
    def handler(number, frame):
        pytest.fail("Timeout (>0.5s) from the other plugin.")
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5 if item.name == "test_hangs" else 0)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
'''


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_another_plugins_time_limit_ends_a_hanging_candidate(suite):
    body = """
    def hangs(x):
        while True:
            pass

    def test_hangs(kbench):
        kbench(hangs, RELU)
    """
    pytester = suite(textwrap.dedent(body) + GATED)
    with (pytester.path / "conftest.py").open("a") as conftest:
        conftest.write(TIME_LIMIT)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*The candidate was interrupted: the handler of SIGALRM*",
            "*Timeout (>0.5s) from the other plugin.*",
        ]
    )
