"""What a record says of the device while it was timed."""

from __future__ import annotations

import numpy as np

from pytest_kgate.evidence import clock_warnings


def test_clock_that_moved_during_the_race_is_said_with_its_range():
    (warning,) = clock_warnings(np.array([1.98e9, 1.98e9, 1.41e9]))
    assert "between 1.41 and 1.98 GHz" in warning


def test_settled_or_unknown_clock_is_not_worth_a_word():
    assert clock_warnings(np.array([1.980e9, 1.981e9, 1.979e9])) == []
    assert clock_warnings(np.empty(0)) == []
