"""On the host, an answer that is computed once the clock has stopped is told, and an honest one is there at once."""

from __future__ import annotations

import gc
import sys
import time

import pytest
import torch
from host_races import ORDER
from host_races import stopwatch_of

from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.errors import TimingError


class Later:
    """Fills answers once the call that returns them is over, by what Python calls in between."""

    def __init__(self, arrange):
        self.arrange, self.left = arrange, None

    def __call__(self, x):
        answer = torch.empty_like(x)
        self.left = x, answer
        self.arrange(self)
        return answer

    def work(self):
        x, answer = self.left
        time.sleep(5e-3)
        answer.copy_(2 * x)


def when_traced(later):
    def trace(frame, event, told):
        if frame.f_code.co_name == "_keep":
            sys.setprofile(None)
            later.work()

    sys.setprofile(trace)


def when_collected(later):
    def listen(phase, told):
        gc.callbacks.remove(listen)
        gc.set_threshold(*limits)
        gc.disable()
        later.work()

    limits = gc.get_threshold()
    gc.callbacks[:] = [listen]
    gc.set_threshold(1)
    gc.enable()


@pytest.fixture
def undisturbed():
    limits, listening, on = gc.get_threshold(), list(gc.callbacks), gc.isenabled()
    yield
    sys.setprofile(None)
    gc.callbacks[:] = listening
    gc.set_threshold(*limits)
    (gc.enable if on else gc.disable)()


def test_answers_that_a_tracer_computes_once_their_time_is_over_are_told(undisturbed):
    stopwatch = stopwatch_of(Later(when_traced))
    for number in range(2):
        stopwatch.round(RoundSeeds(1, 1, (100 + number, 200, 300)), ORDER)
    with pytest.raises(TimingError, match="were there only"):
        stopwatch.round(RoundSeeds(1, 1, (102, 200, 300)), ORDER)


def test_collector_that_a_call_turns_on_does_not_compute_its_answer(undisturbed):
    stopwatch = stopwatch_of(Later(when_collected))
    probe = stopwatch.round(RoundSeeds(1, 1, (100, 101, 102)), ORDER).probe
    assert float(probe.answers[0][1].flatten()[0]) != 200.0


def test_answers_of_honest_calls_are_there_at_once():
    stopwatch = stopwatch_of(lambda x: 2 * x)
    for number in range(8):
        stopwatch.round(RoundSeeds(1, 1, (100 + number, 200, 300)), ORDER)
