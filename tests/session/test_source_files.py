"""Which files of a repository a record names, so that whoever verifies it can ask whether they are the same."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_kgate.session.fixtures.sources.source_files import git_root
from pytest_kgate.session.fixtures.sources.source_files import source_files

KERNEL = "def mine(x):\n    return x\n\n\nclass Mine:\n    def __call__(self, x):\n        return x\n"


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, env=environment, check=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "kernel.cu").write_text("// a kernel")
    path = tmp_path / "tests" / "test_it.py"
    path.write_text("# a test")
    git_root.cache_clear()
    return path


def test_files_of_test_and_candidate_are_named_from_the_root_of_their_repository(
    test_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = test_file.parents[1]
    spec = importlib.util.spec_from_file_location("kernel", root / "kernel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "kernel", module)
    digest = hashlib.blake2b(KERNEL.encode(), digest_size=16).hexdigest()
    wrapped = functools.wraps(module.mine)(lambda x: module.mine(x))
    isolated = SimpleNamespace(where=str(root / "kernel.py"))
    for candidate in (module.mine, wrapped, module.Mine(), module.Mine, isolated):
        found = source_files(test_file, candidate)  # type: ignore[arg-type]
        assert list(found) == ["tests/test_it.py", "kernel.py"], candidate
        assert found["kernel.py"] == digest
    built = SimpleNamespace(source=root / "kernel.cu")
    assert list(source_files(test_file, built)) == ["tests/test_it.py", "kernel.cu"]  # type: ignore[arg-type]


def test_what_is_no_file_of_the_repository_is_left_out(
    test_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for candidate in (max, os.path.join, functools.partial(max, 1)):
        assert list(source_files(test_file, candidate)) == ["tests/test_it.py"]
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "test_it.py"
    elsewhere.write_text("")
    assert source_files(elsewhere, max) == {}
