"""`--kgate-grid-budget`: the seconds of a grid of shapes, shared by the tests that it is made of."""

from __future__ import annotations

from collections import Counter
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.problems.shape import Shape

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Request
    from pytest_kgate.evaluation.options.options import Options
    from pytest_kgate.report.record.record import Record

_LEAST_SECONDS = 1e-3
"""For a test that has spent what it had, in its first call: its next race ends at once, and says what it takes."""


class GridBudget:
    """The seconds of a grid: each test brings an equal share when it starts, and what it leaves is for later ones.

    So each shape has its share, whatever the others do, and one that is not decided within it goes on with what those
    before it did not need. Under pytest-xdist each worker passes on what its own tests leave.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._shares: dict[str, float] = {}
        self._at_hand: defaultdict[str, float] = defaultdict(float)
        self._started: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each grid that are left to run."""
        counts = Counter(grid for item in session.items if (grid := _grid_of(item)) is not None)
        self._shares = {grid: self._seconds / count for grid, count in counts.items() if count > 1}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test brings its share; a rerun of it has what is at hand."""
        grid = _grid_of(item)
        if grid in self._shares and item.nodeid not in self._started:
            self._started.add(item.nodeid)
            self._at_hand[grid] += self._shares[grid]

    def within(self, request: Request, item: pytest.Item, options: Options) -> Request:
        """The request with the seconds that are at hand; as it is where the test names a budget, or is of no grid."""
        grid = _grid_of(item)
        if grid not in self._shares or options.sources.get("budget") in ("marker", "kbench"):
            return request
        budget = max(self._at_hand[grid], _LEAST_SECONDS)
        return replace(request, settings=replace(request.settings, budget=budget))

    def take(self, record: Record, item: pytest.Item) -> None:
        """Take what a call's races have spent off what is at hand."""
        grid, timing = _grid_of(item), record["timing"]
        if grid not in self._shares or not timing:
            return
        tries = timing.get("evidence", {}).get("tries", [])
        spent = sum(one["seconds_spent"] for one in tries if "seconds_spent" in one) or timing["seconds_spent"]
        self._at_hand[grid] = max(0.0, self._at_hand[grid] - spent)


def _grid_of(item: pytest.Item) -> str | None:
    """The test with its other parameters, whatever its shape; None where none of its parameters is one."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    shape = next((value for value in parameters.values() if isinstance(value, Shape)), None)
    if shape is None:
        return None
    function, _, rest = item.nodeid.partition("[")
    return f"{function}[{'-'.join(part for part in rest.replace(str(shape), '-').split('-') if part)}"
