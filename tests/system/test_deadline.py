"""A deadline shares the process's one timer with other plugins' time limits."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.integrity.side_effects.background import new_threads
from pytest_kgate.integrity.side_effects.background import python_threads
from pytest_kgate.system.clocks.deadline import called_by_deadlines
from pytest_kgate.system.clocks.deadline import deadline

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


class TooLong(BaseException):
    """What another plugin's handler raises: as pytest's own failures, no Exception."""


@pytest.fixture
def limit():
    """A time limit on a whole test, set as pytest-timeout sets it."""

    def set_limit(seconds):
        def handler(number, frame):
            raise TooLong

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.getsignal(signal.SIGALRM)
    yield set_limit
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def ignored(complaint):
    pass


def test_block_ends_at_its_deadline():
    with (
        pytest.raises(CandidateError, match=r"the check did not end within 0\.05 s"),
        deadline(0.05, "the check", ignored),
    ):
        time.sleep(10)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_signal_that_the_block_sent_itself_is_not_called_a_deadline():
    def alarmed():
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        time.sleep(10)

    told = r"SIGALRM came after .* the limit of 20 s had not sent it"
    with pytest.raises(CandidateError, match=told), deadline(20, "the check", ignored):
        alarmed()


def test_earlier_limit_of_another_plugin_ends_the_block(limit):
    limit(0.05)
    with pytest.raises(TooLong), deadline(20, "the check", ignored):
        time.sleep(10)


def test_later_limit_of_another_plugin_comes_when_it_would_have_come(limit):
    limit(0.3)
    with pytest.raises(CandidateError), deadline(0.1, "the check", ignored):
        time.sleep(10)
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.2
    with pytest.raises(TooLong):
        time.sleep(10)


def test_watchdog_is_not_taken_for_a_thread_of_the_candidate():
    before = python_threads()
    ends = threading.Event()
    own = threading.Thread(target=ends.wait, name="candidates-own")
    with deadline(20, "the check", ignored):
        own.start()
        assert new_threads(before) == ["candidates-own"]
    ends.set()
    own.join()


def in_thread(function):
    """What the function returns or raises in a thread that is not the main one."""
    found = []

    def run():
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def loop():
    while True:
        pass


def test_block_in_another_thread_ends_at_its_deadline():
    def block():
        with deadline(0.05, "the check", ignored):
            loop()

    error = in_thread(block)
    assert isinstance(error, CandidateError)
    assert "the check did not end within 0.05 s; it was in loop, test_deadline.py line" in error.what


def late_in_the_problem():
    with deadline(0.05, "the check", ignored), called_by_deadlines("The reference"):
        loop()


def test_function_of_the_problem_that_is_late_in_another_thread_is_named_as_the_problem_s():
    error = in_thread(late_in_the_problem)
    assert isinstance(error, ProblemRaised)
    assert error.what.startswith("The reference took too long: the check did not end within 0.05 s; it was in loop")


def test_function_of_the_problem_is_named_while_it_runs_only():
    with pytest.raises(ProblemRaised, match="The reference took too long"):
        late_in_the_problem()
    with pytest.raises(CandidateError, match="The candidate hung"), deadline(0.05, "the check", ignored):
        loop()


def test_block_in_another_thread_that_ends_in_time_leaves_nothing_behind():
    def block():
        with deadline(0.02, "the check", ignored):
            pass
        until = time.monotonic() + 0.06
        while time.monotonic() < until:
            pass
        return "fine"

    assert in_thread(block) == "fine"


def test_caller_of_what_hangs_is_not_named_as_its_place():
    ours, theirs = Channel.pair()
    with pytest.raises(CandidateError) as caught, deadline(0.05, "the check", ignored):
        ours.answer()
    theirs.close()
    assert caught.value.what.endswith("did not end within 0.05 s.")


PROFILED = """
import sys, threading, time
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.system.clocks.deadline import called_by_deadlines
from pytest_kgate.system.clocks.deadline import deadline

def in_time():
    with deadline(60, "a nap", print):
        pass

def too_long():
    try:
        with deadline(0.05, "a long work", print):
            while True:
                pass
    except CandidateError:
        pass

def just_in_time():
    with deadline(0.05, "a nap", print):
        time.sleep(0.2)  # what is asked for meanwhile can come only afterwards

for function in (in_time, too_long, just_in_time):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
sys.setprofile(lambda *_: None)
in_time()
"""


def test_deadlines_of_threads_leave_an_interpreter_that_can_be_profiled():
    """Python 3.11 hangs under a profiler where it was asked for an exception that has never come."""
    subprocess.run([sys.executable, "-c", PROFILED], check=True, timeout=60)
