"""`--kgate-shapes`: tests over a grid run over another one; of other lists of shapes, what that grid has stays."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.problems.grids.named import chosen_grid
from pytest_kgate.problems.grids.named import is_grid
from pytest_kgate.problems.shape import Shape
from pytest_kgate.session.collection.misuse import end_collection


@dataclass(frozen=True)
class ChosenShapes:
    """A pytest plugin, under --kgate-shapes, that runs tests over the chosen grid instead of their own shapes."""

    name: str
    """How the grid is called, as it was given."""
    grid: tuple[Shape, ...]
    label: str
    """Who chose it: `--kgate-shapes`."""

    @classmethod
    def of(cls, options: Options) -> ChosenShapes:
        """The grid that the options name; raises `UsageError`."""
        assert options.shapes is not None
        label = BY_NAME["shapes"].label(options.sources["shapes"])
        name = options.shapes.name if isinstance(options.shapes, Path) else options.shapes
        return cls(name, chosen_grid(options.shapes, label), label)

    def pytest_report_header(self) -> str:
        return f"kgate: shapes of {self.name}, {len(self.grid)} of them ({self.label})"

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Put the grid in the place of any other that the test, or a fixture of its, is parametrized with.

        All of them come by this one method: markers of the test, its class and module, fixtures, and users' own hooks.
        """
        parametrize = metafunc.parametrize

        def with_grid(argnames: Any, argvalues: Any, *arguments: Any, **keywords: Any) -> None:
            if isinstance(argvalues, list | tuple) and is_grid(argvalues):
                argvalues = self.grid
                if not callable(keywords.get("ids")):
                    keywords.pop("ids", None)  # names for each of the other grid's shapes
            parametrize(argnames, argvalues, *arguments, **keywords)

        metafunc.parametrize = with_grid  # type: ignore[method-assign]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Deselect the tests with other shapes, of those that -m and -k have left; an error where no shape remains."""
        dropped = [item for item in items if any(shape not in self.grid for shape in _shapes(item))]
        if not dropped:
            return
        kept = [item for item in items if not any(shape not in self.grid for shape in _shapes(item))]
        if not any(True for item in kept for _ in _shapes(item)):
            others = dict.fromkeys(str(shape) for item in dropped for shape in _shapes(item))
            wrong = UsageError(
                f"{self.label} {self.name}: no test has any of its {len(self.grid)} shapes; they have "
                f"{_some(list(others))}.",
                "Choose another grid, or parametrize the tests with a whole grid of `pytest_kgate.shapes`, whose place "
                "it then takes.",
            )
            end_collection(session, items, wrong)
            return
        session.config.hook.pytest_deselected(items=dropped)
        items[:] = kept

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        if not items or any(True for item in items for _ in _shapes(item)):
            return []
        return [f"kgate: {self.label} {self.name} chose nothing: no collected test is parametrized with shapes"]


def _shapes(item: pytest.Item) -> Iterator[Shape]:
    """The shapes among a test's parameters, and among the parts of those that are tuples or lists."""
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Shape):
                yield part


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
