"""What a search says while it runs, above all how long it will take."""

from __future__ import annotations

import argparse
import io
import math
from typing import Any

import pytest

from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.policy.elites import Elites
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.running.progress import Progress
from pytest_kgate.search.running.progress import about
from pytest_kgate.search.running.progress import budget_text
from pytest_kgate.search.running.progress import hang_text
from pytest_kgate.search.running.progress import remaining
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.verbs.arguments import amount
from pytest_kgate.search.verbs.arguments import duration
from pytest_kgate.search.verbs.arguments import processes


def test_time_left_is_that_of_the_limit_that_ends_the_candidates_first():
    assert remaining(Budget(600.0), 1000, 0, 60.0) == pytest.approx(480.0 - 60.0)  # a fifth is kept for the end
    assert remaining(Budget(600.0), 1000, 10, 60.0) == pytest.approx(480.0 - 60.0)
    assert remaining(Budget(600.0), 20, 10, 60.0) == pytest.approx(60.0)
    assert remaining(Budget(600.0, evaluations=12), 1000, 10, 60.0) == pytest.approx(12.0)
    assert remaining(Budget(), 20, 0, 5.0) is None
    assert remaining(Budget(60.0), 20, 0, 80.0) == 0.0


def test_a_search_says_what_limits_it_and_what_a_candidate_that_hangs_may_cost():
    assert budget_text(Budget(600.0, 40, 1)) == "10 min, 40 evaluations, 1 generation without a better elite"
    assert hang_text(Budget(600.0), 300.0) == hang_text(Budget(evaluations=8), 300.0) == ""
    assert "is ended after 5 min, whatever is left of the budget; --time-limit" in hang_text(Budget(60.0), 300.0)


def test_chosen_durations_are_told_as_they_are():
    told = [budget_text(Budget(seconds)) for seconds in (0.5, 90.0, 60.0, 3600.0, 5400.0, 7000.0)]
    assert told == ["0.5 s", "90 s", "1 min", "1 h", "1 h 30 min", "7000 s"]
    assert "is ended after 90 s, " in hang_text(Budget(60.0), 90.0)


def test_durations_as_people_write_and_read_them():
    assert [amount("0"), amount("64")] == [0, 64]
    for wrong in ("-4", "few", "\u00b2"):
        with pytest.raises(argparse.ArgumentTypeError, match="a whole number from 0"):
            amount(wrong)
    assert [duration(text) for text in ("90", "90s", "10m", "1h30m", "1.5h")] == [90.0, 90.0, 600.0, 5400.0, 5400.0]
    assert [about(seconds) for seconds in (0, 41, 95, 7000)] == ["5 s", "45 s", "2 min", "1 h 57 min"]
    for wrong in ("", "0s", "soon", "10m5x"):
        with pytest.raises(argparse.ArgumentTypeError, match="takes a duration"):
            duration(wrong)
    with pytest.raises(argparse.ArgumentTypeError, match="from 3"):
        processes("2")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_better_candidates_and_the_stages_of_the_end_are_said(stream):
    estimate = Estimate(math.log(0.8), 0.01, 11, 12)
    one = Trial(Configuration.of({"STAGES": 2}), "raced", objective=estimate)
    worse = Trial(Configuration.of({"STAGES": 3}), "raced", objective=Estimate(0.0, 0.01, 11, 12))

    class Evaluator:
        def screen(self, configuration: Configuration, rounds: int) -> Trial:
            return one

        def joint(self, *_: Any) -> list[Trial]:
            return [one]

        def confirm(self, *_: Any) -> None:
            return None

    seconds = iter(range(100))
    progress = Progress(Evaluator(), Budget(100.0), 10, lambda: float(next(seconds)), stream)  # type: ignore[arg-type]
    assert progress.screen(one.configuration, 12) is one
    elites = Elites(4, lambda _: 0)
    for trial in (one, worse):
        elites = elites.with_trial(trial)
        progress.told(trial, elites)
    progress.joint([one.configuration], 48)
    progress.confirm(one.configuration, 0.0125, 5)
    progress.done()
    said = stream.getvalue()
    told = [line for line in said.splitlines() if "best ratio 0.800 (provisional) with STAGES=2, about" in line]
    assert len(told) == 1 or stream.isatty()  # only what is better is news
    assert "1 elite in one race of 48 rounds" in said
    assert "confirming STAGES=2 in 5 fresh processes" in said
    assert ("\r" in said) == stream.isatty()
