"""The sdist and the wheel are whole."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from distributions import build
from distributions import unpack

Contents = dict[str, bytes]


def files_of(folder: Path) -> Contents:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of_wheel(wheel: Path) -> Contents:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def demand_same(found: Contents, expected: Contents) -> None:
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def test_the_sdist_has_every_file_that_git_has(checkout: Path, sdist: Path, tmp_path: Path) -> None:
    made = ("PKG-INFO", "setup.cfg", "pytest_kgate.egg-info/")
    found = {name: text for name, text in files_of(unpack(sdist, tmp_path)).items() if not name.startswith(made)}
    demand_same(found, files_of(checkout))


def test_the_wheel_has_every_file_of_the_package_and_of_the_kernels(checkout: Path, wheel: Path) -> None:
    found = {name: text for name, text in files_of_wheel(wheel).items() if ".dist-info/" not in name}
    expected = files_of(checkout / "pytest_kgate")
    expected |= {f"csrc/{name}": text for name, text in files_of(checkout / "csrc").items()}
    demand_same(found, {f"pytest_kgate/{name}": text for name, text in expected.items()})


def test_the_sdist_makes_the_wheel_that_the_tree_makes(wheel_of_tree: Path, sdist: Path, tmp_path: Path) -> None:
    from_sdist = build("wheel", unpack(sdist, tmp_path / "unpacked"), tmp_path / "wheel")
    demand_same(files_of_wheel(from_sdist), files_of_wheel(wheel_of_tree))
