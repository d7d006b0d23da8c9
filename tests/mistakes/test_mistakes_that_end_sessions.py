"""Candidates that hang or crash: what becomes of the session, and of the records so far."""

from __future__ import annotations

import os
import signal
import textwrap

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from user_session import write_kernel

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401

NOT_POSIX = not hasattr(os, "fork")


def test_candidate_that_hangs_in_python_fails_and_the_session_goes_on(play):
    result = play(
        """
        def endless(x):
            while True:
                pass

        @pytest.mark.perf(timeout=0.5)
        def test_mistake(kbench):
            kbench(endless, RELU)
        """
    )
    result.failed_once("endless")
    result.says("The candidate hung: the check of relu 64x64 did not end within 0.5 s", "--kgate-timeout")
    result.says("it was in endless, test_it.py line")


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("part", "named"),
    [("inputs", "The problem's inputs"), ("reference", "The reference"), ("exact", "The problem's exact")],
)
def test_function_of_the_problem_that_takes_too_long_blames_no_candidate(play, part, named):
    result = play(
        f"""
        import dataclasses, time

        def slow(*given):
            time.sleep(5)

        @pytest.mark.perf(timeout=0.2)
        def test_mistake(kbench):
            kbench(lambda x: torch.relu(x), dataclasses.replace(RELU, {part}=slow))
        """
    )
    result.failed_once("<lambda>")
    result.says(f"{named} took too long: the check of relu 64x64 did not end within 0.2 s; it was in slow, test_it.py")
    assert "hung" not in result.text


STUCK = """
def test_mistake(kbench, sdpa_oracle, kernels):
    kbench(kernels("mine.cpp"), sdpa_oracle(SMALL, dtype="float32"))
"""


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX signals")
def test_kernel_that_hangs_in_native_code_ends_the_session_and_keeps_the_records(play, folder):
    write_kernel(folder, "for (;;) usleep(1000);")
    shorter_grace = (
        "\nimport pytest_kgate.system.clocks.deadline\npytest_kgate.system.clocks.deadline._GRACE_SECONDS = 0.5\n"
    )
    result = play(STUCK, "--kgate-timeout=1", apart=True, conftest=shorter_grace)
    assert result.status not in (0, pytest.ExitCode.TESTS_FAILED)
    assert result.names == ["before"]
    result.says("pytest-kgate: The candidate hung: the check of sdpa 1x2x32x16 float32 did not end within 1 s")
    result.says("so the session ends here.", "The records so far are in", "records.json")
    result.says("Not run: test_it.py::test_after.")
    result.says("Deselect the test to run the others: test_it.py::test_mistake")


def test_kernel_that_crashes_leaves_the_records_so_far(play, folder):
    write_kernel(folder, "*static_cast<volatile int*>(nullptr) = 1; return 0;")
    result = play(STUCK, apart=True)
    assert result.status in (-signal.SIGSEGV, 128 + signal.SIGSEGV)
    assert result.names == ["before"]
    result.says("Segmentation fault", "test_mistake")  # pytest's own faulthandler tells where


def test_crashed_workers_are_replaced_and_their_records_kept(play, folder):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    write_kernel(folder, "*static_cast<volatile int*>(nullptr) = 1; return 0;")
    exits = """
    def test_exits(kbench):
        import os
        kbench(lambda x: os._exit(3), RELU)
    """
    result = play(STUCK + textwrap.dedent(exits), "-n2", apart=True)
    assert result.outcomes["failed"] == 2
    assert sorted(result.names) == ["after", "before"]
    result.says("crashed while running 'test_it.py::test_mistake'", "crashed while running 'test_it.py::test_exits'")
