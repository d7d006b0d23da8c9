"""A budget that the tests of a grid share: equal parts, and what others leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.session.collection.grid_budget import GridBudget

SHAPES = (Shape(1, 1, 8, 16), Shape(1, 1, 16, 16, causal=True), Shape(1, 1, 32, 16), Shape(1, 1, 64, 16))

REQUEST = Request(
    "t",
    0,
    torch.relu,
    Problem("relu", lambda generator: (torch.zeros(1),), torch.relu, exact=torch.relu),
    (),
    None,
    Settings(),
)


def item(shape: Shape, impl: str = "mma"):
    nodeid = f"test_a.py::test_grid[{impl}-{shape}]"
    return SimpleNamespace(nodeid=nodeid, callspec=SimpleNamespace(params={"impl": impl, "shape": shape}))


@dataclass
class Grid:
    """A session of made-up tests under a budget of 40 s."""

    def __post_init__(self) -> None:
        self.tests = [item(shape) for shape in SHAPES]
        self.budget = GridBudget(40.0)
        self.budget.pytest_collection_finish(SimpleNamespace(items=[*self.tests, item(SHAPES[0], "wmma")]))

    def run(self, test, spends: float | None, options: Options | None = None) -> float:
        self.budget.pytest_runtest_setup(test)
        request = self.budget.within(REQUEST, test, options or Options())
        timing = None if spends is None else {"seconds_spent": spends}
        self.budget.take({"timing": timing}, test)
        return request.settings.budget


def test_each_shape_has_its_share_and_what_those_before_it_left() -> None:
    grid = Grid()
    spent = [1.0, 19.0, 10.0, 2.0]
    assert [grid.run(test, seconds) for test, seconds in zip(grid.tests, spent, strict=True)] == [10, 19, 10, 10]


def test_shape_that_was_not_timed_leaves_all_of_its_share() -> None:
    grid = Grid()
    assert [grid.run(test, seconds) for test, seconds in zip(grid.tests, (None, 5.0, 1.0, 1.0), strict=True)] == [
        *(10, 20, 25, 34),
    ]


def test_rerun_brings_no_second_share() -> None:
    grid = Grid()
    assert (grid.run(grid.tests[0], 4.0), grid.run(grid.tests[0], 6.0)) == (10, 6)
    assert grid.run(grid.tests[0], 1.0) == pytest.approx(1e-3)


def test_test_of_one_shape_or_with_a_budget_of_its_own_keeps_it() -> None:
    grid = Grid()
    assert grid.run(item(SHAPES[0], "wmma"), 1.0) == Settings().budget
    assert grid.run(grid.tests[0], 1.0, override(Options(), budget=3.0)) == Settings().budget


def test_several_processes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"grid_budget=40\.0 .* cannot go with processes=3"):
        override(Options(grid_budget=40.0), processes=3)


def test_session_hands_the_shares_to_its_races(pytester: pytest.Pytester, one_thread: None) -> None:
    pytester.makepyfile(
        """
        import pytest, torch
        from pytest_kgate import Problem, Shape

        @pytest.mark.parametrize("shape", [Shape(1, 1, 8, 16), Shape(1, 1, 16, 16)])
        def test_grid(kbench, shape):
            draw = lambda generator: (torch.randn(64, generator=generator),)
            kbench(lambda x: torch.relu(x), Problem("relu 64 float32", draw, torch.relu, exact=torch.relu), check=False)
        """
    )
    result = pytester.runpytest_inprocess("--kgate-grid-budget=4", "--kgate-device=host", "--kgate-json=records.json")
    result.assert_outcomes(passed=2)
    records = json.loads((pytester.path / "records.json").read_text())["records"]
    first, second = (one["timing"]["budget_seconds"] for one in records)
    assert first == pytest.approx(2)
    assert 2 < second < 4
