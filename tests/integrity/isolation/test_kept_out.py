"""No process of the judge imports an isolated candidate's file, whatever it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

import pytest

import pytest_kgate.bench.call  # noqa: F401  (pytester forgets what its sessions import, so each would load it again)
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.process.judge import kept_out
from pytest_kgate.integrity.isolation.process.parent import CandidateProcess
from pytest_kgate.integrity.isolation.process.parent import _environment

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def imports(monkeypatch, tmp_path):
    """The import system as it is, with a folder of tests ahead of all others."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(kept_out, "_PAST", kept_out._Past())
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_candidates_file_is_not_imported_by_the_judge_under_another_modules_name(imports, monkeypatch):
    """`colorsys` stands for any module that something here imports late."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    for name in ("colorsys", "not_installed"):
        (imports / f"{name}.py").write_text("raise AssertionError('the candidate has run here')")
        kept_out.keep_out(str(imports / f"{name}.py"))
    assert importlib.import_module("colorsys").__file__ != str(imports / "colorsys.py")
    with pytest.raises(ImportError, match="is an isolated candidate's, and is not imported here"):
        importlib.import_module("not_installed")


def test_candidates_package_is_kept_out_where_it_hides_another_module_only(imports, monkeypatch):
    for name in ("colorsys", "of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (imports / name).mkdir()
        (imports / name / "__init__.py").write_text("seen = True")
        kept_out.keep_out_named(f"{name}.kernels:relu", imports)
    assert not hasattr(importlib.import_module("colorsys"), "seen")
    assert importlib.import_module("of_mine").seen
    del sys.modules["of_mine"]


def test_candidate_that_was_imported_here_is_not_isolated_any_more(imports, monkeypatch):
    (imports / "seen_here.py").write_text("")
    monkeypatch.setitem(sys.modules, "seen_here", importlib.import_module("seen_here"))
    with pytest.raises(UsageError, match="has imported it as seen_here"):
        kept_out.keep_out(str(imports / "seen_here.py"))


@pytest.mark.parametrize(("name", "refused"), [("rich", True), ("glob", True), ("conftest", True), ("mine", False)])
def test_name_under_which_a_new_judge_would_import_the_candidate_is_refused(tmp_path, name, refused):
    with pytest.raises(UsageError, match=f"would import it as {name}") if refused else contextlib.nullcontext():
        kept_out.demand_own_name(str(tmp_path / f"{name}.py"), tmp_path)
    kept_out.demand_own_name(str(tmp_path / f"{name}.py"), tmp_path.parent)


def test_processes_of_a_judge_look_for_modules_neither_where_it_runs_nor_beside_its_tests(imports, monkeypatch):
    """What they import before they are confined, and what the timer's process does, is none of the candidate's."""
    monkeypatch.chdir(imports)
    for name in ("glob", "sitecustomize", "opt_einsum"):
        (imports / f"{name}.py").write_text("raise AssertionError('the candidate has run here')")
    (imports / "mine.py").write_text("import torch\ndef relu(x):\n    return torch.relu(x)\n")
    function = CandidateFunction.parse("mine.py:relu", (imports,))
    process = CandidateProcess(function, {}, HostDevice(), imports)
    process.close()
    assert "PYTHONPATH" in _environment("own")
    assert str(imports) not in _environment("own")["PYTHONPATH"].split(os.pathsep)
