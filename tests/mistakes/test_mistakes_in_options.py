"""Options that make no sense, or do not go together: what happened, what to do, and nothing measured is lost."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401


@pytest.mark.parametrize(
    ("flag", "environ", "ini", "source"),
    [
        ("--kgate-budget=soon", "", "", "--kgate-budget cannot be 'soon'."),
        ("", "soon", "", "KGATE_BUDGET cannot be 'soon'."),
        ("", "", "soon", "kgate_budget in the ini file cannot be 'soon'."),
    ],
    ids=["command line", "environment", "ini"],
)
def test_bad_value_of_an_option_names_where_it_came_from(play, folder, monkeypatch, flag, environ, ini, source):
    if environ:
        monkeypatch.setenv("KGATE_BUDGET", environ)
    if ini:
        folder.makeini(f"[pytest]\nkgate_budget = {ini}\n")
    result = play("", *([flag] if flag else []))
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says(source, "It takes a positive number of seconds, such as 10.")


def test_wall_timer_with_a_cold_cache_names_both_and_the_ways_out(play, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE", "cold")
    result = play("", "--kgate-timer=wall")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("timer=wall (--kgate-timer) cannot go with cache=cold (KGATE_CACHE)")
    result.says("Use cache=hot, or a timer of a CUDA device: graph or queue.")


def test_cuda_timer_on_the_host_is_refused(play):
    result = play("", "--kgate-timer=graph", device="host")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("timer=graph (--kgate-timer) cannot go with device=host", "Use timer=auto or timer=wall there.")


@pytest.mark.parametrize(
    ("marker", "argument", "advised"),
    [
        ("", 'cache="cold"', "Use kbench(cache='hot') on the host."),
        ('@pytest.mark.perf(cache="cold")', "", "Use @pytest.mark.perf(cache='hot') on the host."),
    ],
    ids=["kbench", "marker"],
)
def test_cold_cache_on_the_host_is_refused_by_the_race_where_it_was_asked_for(play, marker, argument, advised):
    result = play(
        f"""
        {marker}
        def test_mistake(kbench):
            kbench(good, RELU, {argument})
        """,
        device="host",
    )
    result.failed_once()
    result.says("The host timer measures with hot caches only.", advised)


def test_cold_cache_on_the_host_that_the_command_line_asked_for_is_taken_back_there(play):
    result = play("", "--kgate-cache=cold", device="host")
    result.says("The host timer measures with hot caches only.", "Use --kgate-cache hot on the host.")


def test_marker_that_asks_for_a_cuda_timer_on_the_host_is_named(play):
    result = play(
        """
        @pytest.mark.perf(timer="graph")
        def test_mistake(kbench):
            kbench(good, RELU)
        """,
        device="host",
    )
    result.failed_once()
    result.says("The graph timer needs a CUDA device.", "Use @pytest.mark.perf(timer='auto') on the host.")
