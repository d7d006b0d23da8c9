"""A candidate that ends the process with success, before anything was judged, as a user sees it."""

from __future__ import annotations

import pytest
from sample_suite import RELU

pytestmark = pytest.mark.usefixtures("warm")

EXIT = (
    RELU
    + """
import ctypes, os

def test_exit(kbench):
    kbench(lambda x: LEAVE, RELU)

def test_after(kbench):
    if os.fork() == 0:
        os._exit(0)
    assert os.wait()[1] == 0
    kbench(torch.nn.functional.relu, RELU)
"""
)


def test_parent_process_sees_a_candidate_that_exits_in_native_code(pytester):
    """What nothing within the process can stop: with one worker of xdist, the verdict is another process's."""
    pytest.importorskip("xdist")
    pytester.makepyfile(EXIT.replace("LEAVE", "ctypes.CDLL(None)._exit(0)"))
    assert pytester.runpytest_subprocess("--kgate-device=host").ret == 0
    assert pytester.runpytest_subprocess("--kgate-device=host", "-n1").ret != 0


@pytest.mark.parametrize("leave", ["os._exit(0)", "os.execl('/bin/true', 'true')"])
def test_candidate_that_leaves_with_success_is_an_error_and_the_session_goes_on(pytester, leave):
    pytester.makepyfile(EXIT.replace("LEAVE", leave))
    result = pytester.runpytest_subprocess("--kgate-device=host", "--kgate-budget=0.2")
    result.assert_outcomes(failed=1, passed=1)
    assert "tried to end the process by os." in result.stdout.str()
    assert "which would have passed for success" in " ".join(result.stdout.str().split())


def test_whoever_reports_a_failure_may_still_leave(pytester):
    pytester.makepyfile(EXIT.replace("LEAVE", "os._exit(7)"))
    assert pytester.runpytest_subprocess("--kgate-device=host").ret == 7
