"""Modules of another revision, imported beside those of today: each of them its own, and all of that revision."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from repositories import commit
from repositories import git
from torch._library import custom_ops

from pytest_kgate.build.revisions.python.python_at import python_at
from pytest_kgate.build.revisions.then import Then
from pytest_kgate.build.revisions.tree import tree_at
from pytest_kgate.errors import RevisionError

KERNELS = """
import importlib
import importlib.util
import helpers.deep as deep
import helpers
from . import constants
from .constants import FACTOR
import torch

def total():
    from .late import LATE
    from planted_alone import ALONE
    found = importlib.import_module("planted.named").NAMED
    return (FACTOR, constants.FACTOR, deep.DEEP, helpers.deep.DEEP, LATE, ALONE, found)

class Kernels:
    @staticmethod
    def inner():
        return FACTOR

    def __call__(self):
        return FACTOR

    def bound(self):
        return FACTOR

def factory():
    return lambda *_: FACTOR

made = Kernels()
count = []
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """At `then` all numbers are 1, and today 2. Modules are found as a user's are: by sys.path, from two folders."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    for name in ("src/planted", "src/helpers"):
        (folder / name).mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("generated.py\n__pycache__\n")
    (folder / "notes.txt").write_text("")
    (folder / "src/planted/__init__.py").write_text("")
    (folder / "src/planted/kernels.py").write_text(KERNELS)
    for number in (1, 2):
        (folder / "src/planted/constants.py").write_text(f"FACTOR = {number}\n")
        (folder / "src/planted/late.py").write_text(f"LATE = {number}\n")
        (folder / "src/planted/named.py").write_text(f"NAMED = {number}\n")
        (folder / "src/helpers/deep.py").write_text(f"DEEP = {number}\n")  # of a package without __init__.py
        (folder / "src/planted_alone.py").write_text(f"ALONE = {number}\n")
        commit(folder)
        git(folder, "tag", f"v{number}")
    before = dict(sys.modules)
    finders = list(sys.meta_path)
    monkeypatch.syspath_prepend(folder)  # what is at the root is found, too
    monkeypatch.syspath_prepend(folder / "src")
    yield folder
    sys.meta_path[:] = finders
    for name in set(sys.modules) - set(before):
        if name.startswith(("planted", "helpers", "kgate_at_")):
            del sys.modules[name]


def then_of(candidate: Callable[..., Any], repository: Path, revision: str = "v1") -> Then:
    def never(namespace: object) -> Any:
        raise AssertionError("it has a name")

    return python_at(candidate, tree_at(repository, revision), [], repository / "test_it.py", never)


def called(then: Then) -> Any:
    assert then.called is not None
    return then.called()


def test_every_module_of_the_repository_is_of_that_revision_however_and_whenever_it_is_imported(
    repository: Path,
) -> None:
    kernels = importlib.import_module("planted.kernels")
    then = then_of(kernels.total, repository)
    assert called(then) == (1,) * 7
    assert kernels.total() == (2,) * 7
    assert called(then) == (1,) * 7
    assert sys.modules["planted.constants"].FACTOR == 2
    globals_of_then = then.called.__globals__  # type: ignore[union-attr]
    assert globals_of_then["count"] is not kernels.count  # state of a module is not shared
    assert globals_of_then["torch"] is torch  # and what is installed is
    assert inspect.getsource(then.called) == inspect.getsource(kernels.total)  # type: ignore[arg-type]
    assert "total at " in then.name
    assert then_of(kernels.total, repository).called is then.called  # imported once
    assert git(repository, "status", "--porcelain") == ""


def test_names_are_followed_through_classes_objects_methods_and_partials(repository: Path) -> None:
    kernels = importlib.import_module("planted.kernels")
    for one in (kernels.Kernels.inner, kernels.made, kernels.made.bound, functools.partial(kernels.Kernels.inner)):
        assert (one(), called(then_of(one, repository))) == (2, 1)
    for one in (kernels.factory(), functools.partial(kernels.factory(), 1)):
        with pytest.raises(AssertionError, match="it has a name"):  # a closure has none: its test is asked
            then_of(one, repository)
    kernels.later = kernels.factory()
    with pytest.raises(RevisionError, match=r"src/planted/kernels.py had no later at \w+ \(v1\)"):
        then_of(kernels.later, repository)


def test_same_files_are_the_same_candidate_and_what_they_import_counts(repository: Path) -> None:
    kernels = importlib.import_module("planted.kernels")
    same = then_of(kernels.total, repository, "v2")
    assert (same.is_same, same.called) == (True, None)
    for path, text, still in (
        ("notes.txt", "more", True),
        ("src/planted_alone.py", "ALONE = 3\n", False),  # imported within the function
        ("src/planted/late.py", "LATE = 3\n", False),
        ("src/planted/table.json", "{}", False),  # read, perhaps
    ):
        before = (repository / path).read_text() if (repository / path).exists() else ""
        (repository / path).write_text(text)
        git(repository, "add", "-A")
        found = then_of(kernels.total, repository, "v2")
        assert (found.is_same, path) == (still, path)
        assert found.source_hash == same.source_hash
        (repository / path).write_text(before)
    assert then_of(kernels.total, repository, "v1").source_hash != same.source_hash


def test_what_was_not_there_or_cannot_be_imported_there_is_said(repository: Path) -> None:
    (repository / "planted_new.py").write_text("def new():\n    pass\n")
    (repository / "src/planted_alone.py").write_text("import planted_gone\ndef alone():\n    pass\n")
    bad = commit(repository)
    for text in ("raise ValueError('no')\n", "def alone():\n    pass\n"):
        (repository / "src/planted_alone.py").write_text(text)
        commit(repository)
    new, alone = importlib.import_module("planted_new"), importlib.import_module("planted_alone")
    with pytest.raises(RevisionError, match=r"planted_new.py did not exist at \w+ \(v1\)"):
        then_of(new.new, repository)
    with pytest.raises(RevisionError, match=r"src/planted_alone.py had no alone at \w+ \(v1\)"):
        then_of(alone.alone, repository)
    with pytest.raises(
        RevisionError, match=r"can't be imported at \w+: ModuleNotFoundError: No module named 'planted_gone'"
    ):
        then_of(alone.alone, repository, bad)
    with pytest.raises(RevisionError, match=r"can't be imported at .*: ValueError: no"):
        then_of(alone.alone, repository, "HEAD~1")


def test_operator_of_one_name_is_not_replaced_by_that_of_then(repository: Path) -> None:
    text = "from torch._library import custom_ops\n"
    # What the decorator `torch.library.custom_op` calls, without the seconds that its first use takes.
    text += "custom_ops.get_library_allowing_overwrite('kgate_planted', 'op')\ndef op():\n    return {}\n"
    (repository / "planted_op.py").write_text(text.format(1))
    commit(repository)
    (repository / "planted_op.py").write_text(text.format(2))
    op = importlib.import_module("planted_op").op
    known = custom_ops.OPDEF_TO_LIB["kgate_planted::op"]
    with pytest.raises(RevisionError, match=r"the operator kgate_planted::op is defined at \w+ \(HEAD\), too"):
        then_of(op, repository, "HEAD")
    assert custom_ops.OPDEF_TO_LIB["kgate_planted::op"] is known


def test_what_git_does_not_keep_is_shared_and_said(repository: Path) -> None:
    (repository / "src/planted/generated.py").write_text("VERSION = 7\n")
    (repository / "src/planted/uses.py").write_text(
        "from .generated import VERSION\ndef f():\n    return (1, VERSION)\n"
    )
    commit(repository)
    (repository / "src/planted/uses.py").write_text(
        "from .generated import VERSION\ndef f():\n    return (2, VERSION)\n"
    )
    uses = importlib.import_module("planted.uses")
    then = then_of(uses.f, repository, "HEAD")
    assert called(then) == (1, 7)
    assert then.notes == ("git does not keep planted.generated: both sides use today's",)
    assert sys.modules["planted.generated"].__spec__.name == "planted.generated"


TRITON = """
import torch
import triton
import triton.language as tl
from .scaled import scaled

@triton.jit
def kernel(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, scaled(tl.load(x + at, mask=at < n)), mask=at < n)

def run(x):
    y = torch.empty_like(x)
    kernel[(1,)](x, y, x.numel(), BLOCK=64)
    return y
"""

SCALED = """
import triton
import triton.language as tl

FACTOR = tl.constexpr({number})

@triton.jit
def scaled(x):
    return x * FACTOR
"""


@pytest.mark.gpu
def test_triton_compiles_each_of_its_own_files(repository: Path) -> None:
    pytest.importorskip("triton")
    (repository / "src/planted/launched.py").write_text(TRITON)
    for number in (3.0, 5.0):
        (repository / "src/planted/scaled.py").write_text(SCALED.format(number=number))
        commit(repository)
    run = importlib.import_module("planted.launched").run
    then = then_of(run, repository, "HEAD~1").called
    assert then is not None
    x = torch.ones(64, device="cuda")
    assert [one(x).mean().item() for one in (run, then, run, then)] == [5.0, 3.0, 5.0, 3.0]
