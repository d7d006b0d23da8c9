"""What is released: the tree as git has it, and the sdist and the wheel that are made of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from shutil import copy

import pytest
from distributions import build
from distributions import only

ROOT = Path(__file__).parents[2]

DISTRIBUTIONS = "DISTRIBUTIONS"
"""Environment variable: a folder with an sdist and a wheel to test. Without it they are made here."""


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git has, and no others."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, whose list of files the sdist and the wheel are compared with")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    copied = tmp_path_factory.mktemp("checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # else it is about to be deleted
            (copied / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, copied / name)
    return copied


@pytest.fixture(scope="session")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if DISTRIBUTIONS in os.environ:
        return only("sdist", ROOT / os.environ[DISTRIBUTIONS])
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel_of_tree(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def wheel(request: pytest.FixtureRequest) -> Path:
    if DISTRIBUTIONS in os.environ:
        return only("wheel", ROOT / os.environ[DISTRIBUTIONS])
    made: Path = request.getfixturevalue("wheel_of_tree")
    return made
