"""Where the seconds of a process under a tool went, also of one that did not come to its end."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from pytest_kgate.profile.under_tool.phases import phases_of

TOLD = (
    {"configured": True, "at": 102.0},
    {"collected": {}, "at": 105.0},
    {"state": "ended", "watched_seconds": 1.5, "at": 107.0},
    {"state": "ended", "watched_seconds": 0.5, "at": 108.0},
    {"finished": True, "at": 109.0},
)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (5, (2.0, 3.0, 2.0, 2.0, 1.0)),
        (4, (2.0, 3.0, 3.0, 2.0, 0.0)),
        (2, (2.0, 3.0, 5.0, 0.0, 0.0)),
        (1, (2.0, 8.0, 0.0, 0.0, 0.0)),
        (0, (10.0, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_a_process_that_was_lost_spent_the_rest_in_the_phase_that_it_was_in(lines, seconds):
    found = astuple(phases_of(TOLD[:lines], 100.0, 110.0))
    assert found == seconds
    assert sum(found) == 10.0
