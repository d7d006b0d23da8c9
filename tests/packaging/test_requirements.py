"""Whoever installs the wheel gets what it imports, and nothing else."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOT_REQUIRED = {
    "cheat": "a file that `kgate integrity` writes",
    "cuda": "comes with PyTorch's CUDA builds, in the version that fits their CUDA",
    "markupsafe": "comes with Jinja2, whose text it is",
    "triton": "comes with PyTorch, where it can run; PyTorch's version decides which",
}
"""Imported where it is found, and why no requirement brings it."""

DEVELOPERS = ("test", "lint", "package")
"""Extras that bring users nothing."""


@pytest.fixture(scope="module")
def requirements(wheel: Path) -> list[Requirement]:
    with ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    return [Requirement(line) for line in Parser().parsestr(text, headersonly=True).get_all("Requires-Dist", [])]


def imported(node: ast.AST) -> Iterator[str]:
    """The top-level modules that the code imports as it runs, at once or where they are needed."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module.partition(".")[0]
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):  # within which nothing is imported
            yield from imported(child)


@pytest.fixture(scope="module")
def needed(checkout: Path) -> set[str]:
    """The projects that the package imports from, by their names on the package index."""
    code = (checkout / "pytest_kgate").rglob("*.py")
    # One tree at a time: many are searched for garbage again and again.
    modules = {module for path in code for module in imported(ast.parse(path.read_text(encoding="utf-8")))}
    modules -= {*sys.stdlib_module_names, *NOT_REQUIRED, "pytest_kgate"}
    projects = packages_distributions()
    return {canonicalize_name(project) for module in modules for project in projects.get(module, [module])}


def test_everything_imported_is_required(requirements: list[Requirement], needed: set[str]) -> None:
    developers = [f'extra == "{name}"' for name in DEVELOPERS]
    users = [each for each in requirements if not str(each.marker).endswith(tuple(developers))]
    assert needed - {canonicalize_name(requirement.name) for requirement in users} == set()


def test_everything_required_is_imported(requirements: list[Requirement], needed: set[str]) -> None:
    always = {canonicalize_name(each.name) for each in requirements if "extra" not in str(each.marker)}
    assert always - needed == set()
