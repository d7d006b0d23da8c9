"""The child process below ncu, with a stand-in for it: how it is started, and all the ways in which it ends badly."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from pytest_kgate.profile.nsight.collection import collect as collecting
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import collect
from pytest_kgate.profile.nsight.collection.page import passes_of
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.session import EndedSession
from pytest_kgate.profile.under_tool.session import ToolSession

CYCLES = "sm__cycles_elapsed.max"


@pytest.fixture
def how(tmp_path, ncu):
    return Collection(
        program=find_program("ncu"),
        metrics=("dram__bytes.sum", CYCLES),
        session=ToolSession(directory=tmp_path, timeout_seconds=1.0),
    )


@pytest.fixture
def ended(monkeypatch):
    """Has the child's session end as told, without any process: its report holds a launch in each range of `ranges`."""

    def set_up(tests, told, ranges, log="", status=0, output="the last line", cut_off=()):
        def run_session(tool, command, arguments, session):
            options = dict(itertools.pairwise(command))
            with open(options["--log-file"], "w") as file:
                file.write(log)
            if ranges:
                with open(f"{options['--export']}.ncu-rep", "w") as file:
                    json.dump({"ranges": ranges, "metrics": [CYCLES]}, file)
            collected = {test: test for test in tests}
            lines = {test: {"test": test, "outcome": "passed", "message": ""} for test in told}
            launched = {
                test: [
                    {
                        "range": f"kgate.0.0.{arm}",
                        "state": "ended",
                        "call": 0,
                        "arm": arm,
                        "backend": None,
                        "gpu": "g",
                        "cut_off": arm in cut_off,
                    }
                    for arm in ("candidate", "reference")
                ]
                for test in told
            }
            return EndedSession(collected, lines, launched, output, status, 3.0)

        monkeypatch.setattr(collecting, "run_session", run_session)

    return set_up


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("permission", "NVreg_RestrictProfilingToAdminUsers=0"),
        ("crash", "ended with status 3 before its test did. Its last lines: the injection library fell over"),
        ("hang", "did not end within 1 s. A longer --kgate-timeout helps if it is just slow; its last lines: waiting"),
    ],
)
def test_a_process_that_comes_to_no_test_says_why(how, monkeypatch, broken, words):
    monkeypatch.setenv("BROKEN", broken)
    (found,) = collect(["test_mine.py"], how).values()
    assert (found.test, found.calls) == ("", ())
    assert words in found.reason


def test_a_metric_that_this_gpu_lacks_is_left_out_and_the_others_are_counted(how, monkeypatch, ncu):
    monkeypatch.setenv("BROKEN", "metric")
    collect(["test_mine.py"], replace(how, metrics=("dram__bytes_red.sum", CYCLES)))
    asked = [call[call.index("--metrics") + 1] for call in ncu()]
    assert asked == [f"dram__bytes_red.sum,{CYCLES}", CYCLES]


def test_the_profiler_is_off_but_for_the_ranges_and_clocks_and_caches_are_as_in_the_race(how, monkeypatch, ncu):
    monkeypatch.setenv("BROKEN", "crash")
    collect(["test_mine.py"], replace(how, cache_control="all"))
    (call,) = ncu()
    options = dict(itertools.pairwise(call))
    assert options["--profile-from-start"] == "off"
    assert "--nvtx" in call
    assert options["--clock-control"] == "none"
    assert options["--cache-control"] == "all"
    assert options["--replay-mode"] == "kernel"
    assert "--kernel-name" not in call
    assert options["--target-processes"] == "application-only"
    assert call[-1] == "test_mine.py"


def test_ranges_tell_which_launch_is_whose(how, ended):
    ended(["a"], ["a"], ["kgate.0.0.candidate", "kgate.0.0.candidate", "kgate.0.0.reference", "theirs"])
    found = collect(["a"], how)["a"]
    assert found.reason == ""
    assert [(one.arm, len(one.launches)) for one in found.calls] == [("candidate", 2), ("reference", 1)]


def test_of_instructions_by_opcode_the_barriers_are_kept(how, ended, monkeypatch):
    by_opcode = "sass__inst_executed_per_opcode"
    counters = {"kernel": "k", "grid": [1, 1, 1], "block": [1, 1, 1]}
    launch = Launch(
        {**counters, "metrics": {f"{by_opcode}[BAR]": 4.0, "others": 1.0}}, ("kgate.0.0.candidate",), 0, "sm_90"
    )
    monkeypatch.setattr(collecting, "launches_in", lambda report, program, printed: [launch])
    ended(["a"], ["a"], ["kgate.0.0.candidate"])
    (candidate, _) = collect(["a"], replace(how, metrics=(by_opcode,)))["a"].calls
    assert candidate.launches[0]["metrics"] == {f"{by_opcode}[BAR]": 4.0}


def test_a_candidate_that_launches_nothing_is_told_from_a_tool_that_sees_nothing(how, ended):
    ended(["a"], ["a"], ["kgate.0.0.reference"])
    assert "The candidate launched no kernel in its call" in collect(["a"], how)["a"].reason
    ended(["a"], ["a"], [], log="==WARNING== No kernels were profiled.\n")
    assert "saw no launch, neither of the candidate nor of the reference" in collect(["a"], how)["a"].reason


def test_a_call_of_too_many_launches_says_so(how, ended, monkeypatch):
    ended(["a"], ["a"], ["kgate.0.0.candidate", "kgate.0.0.reference"], cut_off=["candidate"])
    found = collect(["a"], how)["a"]
    assert "makes more launches than ncu counts within 60 s" in found.reason


def test_the_newest_ncu_of_a_toolkit_is_found(tmp_path, monkeypatch):
    for version in ("2024.1.1", "2025.3.1"):
        program = tmp_path / f"nsight-compute-{version}" / "ncu"
        program.parent.mkdir()
        program.touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find_program("ncu") == program


def test_a_process_that_was_taken_down_has_its_report_read_and_not_what_it_printed_of_it(how, ended, monkeypatch):
    read = []
    monkeypatch.setattr(collecting, "launches_in", lambda report, program, printed: read.append(printed) or [])
    for status in (0, 9):
        ended(["a"], ["a"], ["kgate.0.0.candidate"], log="a table", status=status)
        collect(["a"], how)
    assert read == ["a table", ""]


def test_passes_are_told_by_the_log():
    profiling = '==PROF== Profiling "kernel" - {}: 0%....50%....100% - {}\n'
    assert passes_of("==PROF== Connected\n" + profiling.format(0, "38 passes") + profiling.format(1, "1 pass")) == 39


def test_a_report_that_was_cut_off_is_no_crash(how, ended, monkeypatch):
    monkeypatch.setenv("BROKEN", "cut")
    ended(["a"], ["a"], ["kgate.0.0.candidate"])
    reason = collect(["a"], how)["a"].reason
    assert "The report of ncu can't be read: Failed to load report file. It may have been cut off" in reason


def test_a_kernel_that_cannot_be_run_again_ends_the_process_and_is_named(how, ended):
    said = '==ERROR== LaunchFailed\n==ERROR== Failed to profile "waits_for_host" in process 1\n'
    ended(["a", "b", "c"], ["a"], ["kgate.0.0.candidate"], log=said, status=9)
    found = collect(["a", "b", "c"], how)
    assert list(found) == ["a", "b"], "what comes after it can be counted in another process"
    assert found["a"].reason == ""
    assert "could not measure the kernel waits_for_host: LaunchFailed." in found["b"].reason


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-11, "ended with signal SIGSEGV before its test did. Its last lines: the last line"),
        (None, "did not end within"),
    ],
)
def test_a_test_that_takes_the_process_down_is_named_with_the_last_lines(how, ended, status, words):
    ended(["a", "b", "c"], ["a"], ["kgate.0.0.candidate"], status=status)
    found = collect(["a", "b", "c"], how)
    assert list(found) == ["a", "b"]
    assert words in found["b"].reason
