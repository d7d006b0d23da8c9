"""Makes the sdist and the wheel, and takes them apart."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from shutil import copytree

# What every build front end runs, without one: the suite needs no more than setuptools.
_BUILD = """
import sys
from setuptools import build_meta
kind, folder = sys.argv[1:]
getattr(build_meta, f"build_{kind}")(folder)
"""


def build(kind: str, tree: Path, folder: Path) -> Path:
    """Make an `sdist` or a `wheel` of a copy of the tree, so that nothing that earlier builds left in it gets in."""
    fresh = copytree(tree, folder / "tree")
    subprocess.run([sys.executable, "-c", _BUILD, kind, folder], cwd=fresh, check=True, stdout=subprocess.DEVNULL)
    return only(kind, folder)


def only(kind: str, folder: Path) -> Path:
    """The one `sdist` or `wheel` that is in the folder."""
    (found,) = folder.glob({"sdist": "pytest_kgate-*.tar.gz", "wheel": "pytest_kgate-*.whl"}[kind])
    return found


def unpack(sdist: Path, folder: Path) -> Path:
    """The tree that the sdist holds."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree
