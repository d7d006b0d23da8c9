"""Which grid a name or a path means, and whether given shapes are those of a grid."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.problems.grids import built_in
from pytest_kgate.problems.grids.file import SUFFIXES
from pytest_kgate.problems.grids.file import SUFFIXES_IN_WORDS
from pytest_kgate.problems.grids.file import check_suffix
from pytest_kgate.problems.grids.file import read
from pytest_kgate.problems.shape import Shape

NAMED: Mapping[str, Callable[[], tuple[Shape, ...]]] = MappingProxyType(
    {
        "canonical": lambda: built_in.CANONICAL,
        "acceptance": lambda: built_in.ACCEPTANCE,
        "all": built_in.all_combinations,
        "stress": lambda: built_in.STRESS,
    }
)

_LOADED: set[tuple[Shape, ...]] = set()
"""The grids of files that this process has loaded."""

__tracebackhide__ = True


def chosen_grid(chosen: str | Path, label: str) -> tuple[Shape, ...]:
    """The grid of this name, or of this file; raises `UsageError`, in which `label` says who gave a name."""
    if isinstance(chosen, Path):
        return load_grid(chosen)
    if chosen not in NAMED:
        raise UsageError(
            f"{label} names {chosen!r}, which is no grid of shapes.{hint(chosen, NAMED)}",
            f"Choose among {', '.join(NAMED)}, or name a file: {SUFFIXES_IN_WORDS}.",
        )
    return NAMED[chosen]()


def load_grid(path: Path, folders: Iterable[Path] = (Path(),)) -> tuple[Shape, ...]:
    """The shapes of a file, which is looked for in these folders, in their order; raises `UsageError`."""
    check_suffix(path)
    places = [folder / path for folder in folders]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise _missing(path, places)
    grid = read(found, str(path))
    _LOADED.add(grid)
    return grid


def is_grid(shapes: Sequence[object]) -> bool:
    """Whether these are exactly the shapes of a named grid, or of a file that was loaded: not a list made by hand."""
    if not shapes or not all(isinstance(shape, Shape) for shape in shapes):  # pytest.param(...), say
        return False
    given = tuple(shapes)
    return given in _LOADED or any(given == grid() for grid in NAMED.values())


def _missing(path: Path, places: Sequence[Path]) -> UsageError:
    folders = list(dict.fromkeys(place.parent.resolve() for place in places))
    beside = {each.name for folder in folders if folder.is_dir() for each in folder.iterdir() if _may_be_grid(each)}
    return UsageError(
        f"There is no file {path} to take shapes from.{hint(path.name, beside)}",
        f"It was looked for in {' and in '.join(map(str, folders))}.",
    )


def _may_be_grid(path: Path) -> bool:
    return path.suffix in SUFFIXES
