"""The rooms of the package, in their order: arrows run downwards, none in a circle, and no room is crowded.

docs/design.md says what each room is for. What is imported only for types, or only where it is needed, counts as well.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_kgate"

DOWNWARDS = (
    *("plugin", "cli", "session", "evaluation", "search", "validation", "profile", "bench", "integrity", "build"),
    *("report", "device", "statistics", "problems", "system", "errors"),
)
"""A module imports what stands in its own room, or further right. `__init__`, the package's face, stands first."""

MOST_ENTRIES = 9
MOST_AT_THE_TOP = 16
"""Files and folders in one folder, `__init__.py` and `py.typed` aside."""

CATALOGUE = "candidates"
"""A folder of examples that are read one by one, not a room: it may hold any number."""


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file, of all modules but those of the catalogue."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if CATALOGUE not in parts:
            found[".".join(parts)] = path
    return found


def imports(path: Path, known: Mapping[str, Path], package: str) -> Iterator[str]:
    """The package's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in (whole, node.module or "") if name in known and name != package)


def arrows(package: Path) -> set[tuple[str, str]]:
    """(importing, imported) modules."""
    known = modules(package)
    return {(name, target) for name, path in known.items() for target in imports(path, known, package.name)}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def upward(found: set[tuple[str, str]]) -> list[str]:
    """Imports that run against the order, and modules of rooms that it does not know."""
    places = {name: place for place, name in enumerate(("__init__", *DOWNWARDS))}
    strangers = sorted({room(name) for arrow in found for name in arrow} - set(places))
    wrong = [f"{one} imports {other}" for one, other in sorted(found) if _place(one, places) > _place(other, places)]
    return [*(f"no place in the order: {name}" for name in strangers), *wrong]


def _place(module: str, places: Mapping[str, int]) -> int:
    return places.get(room(module), -1)


def circle(found: set[tuple[str, str]], depth: int | None = None) -> list[str]:
    """A circle of modules, or of folders where names are cut to `depth` parts; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for one, other in found:
        start, end = (".".join(name.split(".")[:depth]) for name in (one, other))
        if start != end:
            graph.setdefault(start, set()).add(end)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def crowded(package: Path) -> list[str]:
    """Folders with more entries than a reader takes in at a glance."""
    found = []
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        names = {path.name for path in folder.iterdir()} - {"__init__.py", "py.typed", "__pycache__"}
        most = MOST_AT_THE_TOP if folder == package else MOST_ENTRIES
        if len(names) > most and not {CATALOGUE, "__pycache__"} & set(folder.parts):
            found.append(f"{folder.relative_to(package.parent)}: {len(names)}")
    return found


def complaints(package: Path) -> list[str]:
    """All that is wrong with a package's rooms."""
    found = arrows(package)
    circles = [circle(found), *(circle(found, depth) for depth in (2, 3, 4))]
    return [*upward(found), *(f"circle: {' -> '.join(one)}" for one in circles if one), *crowded(package)]


def test_imports_run_downwards_without_a_circle_and_no_room_is_crowded() -> None:
    assert complaints(PACKAGE) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"device/a.py": "from {p}.bench import b\n", "bench/b.py": ""}, "{p}.device.a imports {p}.bench.b"),
        ({"device/a.py": "def f():\n    import {p}.cli\n", "cli.py": ""}, "{p}.device.a imports {p}.cli"),
        (
            {
                "report/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {p}.build.b import B\n",
                "build/b.py": "",
            },
            "{p}.report.a imports {p}.build.b",
        ),
        (
            {"bench/a.py": "from {p}.bench import b\n", "bench/b.py": "from {p}.bench.a import A\n"},
            "circle: {p}.bench.a -> {p}.bench.b -> {p}.bench.a",
        ),
        (
            {
                "bench/x/a.py": "from {p}.bench.y import b\n",
                "bench/y/b.py": "",
                "bench/y/c.py": "from {p}.bench.x import d\n",
                "bench/x/d.py": "",
            },
            "circle: {p}.bench.x -> {p}.bench.y -> {p}.bench.x",
        ),
        ({f"system/{letter}.py": "" for letter in "abcdefghij"}, "{p}/system: 10"),
        ({"attic/a.py": "from {p}.system import b\n", "system/b.py": ""}, "no place in the order: attic"),
    ],
    ids=["upward", "late", "for-types", "circle", "circle-of-folders", "crowded", "unknown-room"],
)
def test_a_planted_violation_is_found(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    package = tmp_path / "planted"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(p=package.name))
    found = complaints(package)
    wanted = complaint.format(p=package.name)
    # A circle may be told from any of its modules.
    assert any(set(wanted.split()) == set(line.split()) for line in found)


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their names alone, so that one of the two could not be collected."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
