"""Files of runs: what is read and written again is the same, byte for byte, so that revisions compare line by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.validation.calibrate.file import Calibrations
from pytest_kgate.validation.cheats import file as cheats
from pytest_kgate.validation.oracle import file as oracle
from pytest_kgate.validation.simulate import designs
from pytest_kgate.validation.simulate import file as simulate


def simulated(path: Path, copy: Path) -> None:
    simulate.save(simulate.load(path), copy)


def of_designs(path: Path, copy: Path) -> None:
    simulate.save(simulate.load(path, designs.SCHEMA), copy)


def on_the_grid(path: Path, copy: Path) -> None:
    oracle.save(oracle.load(path), copy)


def of_cheats(path: Path, copy: Path) -> None:
    cheats.save(cheats.load(path), copy)


def calibrated(path: Path, copy: Path) -> None:
    calibrations = Calibrations.load(path)
    calibrations.path = copy
    calibrations.save()


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "pytest-kgate/simulation": simulated,
    "pytest-kgate/designs": of_designs,
    "pytest-kgate/oracle": on_the_grid,
    "pytest-kgate/integrity": of_cheats,
    "pytest-kgate/calibration": calibrated,
}


def kind_of(path: Path) -> str:
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    return str(content.get("schema", "")) if isinstance(content, dict) else ""


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMITTED = [(path, kind) for path in sorted(BENCHMARKS.rglob("*.json")) if (kind := kind_of(path)) in KINDS]


@pytest.mark.parametrize(("path", "kind"), COMMITTED, ids=lambda one: one.stem if isinstance(one, Path) else "")
def test_committed_file_is_written_again_as_it_is(path: Path, kind: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    KINDS[kind](path, copy)
    assert copy.read_bytes() == path.read_bytes()


def test_there_is_a_committed_file_of_each_kind() -> None:
    assert {kind for _, kind in COMMITTED} == KINDS.keys()


@pytest.mark.parametrize("kind", ["pytest-kgate/oracle", "pytest-kgate/integrity", "pytest-kgate/simulation"])
def test_file_that_can_not_be_written_is_told_in_words(kind: str, tmp_path: Path) -> None:
    path = next(path for path, one in COMMITTED if one == kind)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="can't be written"):
        KINDS[kind](path, tmp_path / "folder")
