"""A clean process makes a problem anew without importing any file of the candidate."""

from __future__ import annotations

import sys
import unittest.mock
from pathlib import Path

import pytest
import torch

from pytest_kgate.bench.processes.clean.problem.candidate_files import files_of
from pytest_kgate.bench.processes.clean.problem.rebuild import Gatekeeper
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of

MINE = """
import torch

def candidate(x):
    return torch.relu(x)
"""

PROBLEMS = """
import mine

def exact(x):
    return mine.candidate(x)
"""

WRAPPED = """
import functools
import mine

candidate = functools.partial(lambda x: mine.candidate(x))
"""


@pytest.fixture(autouse=True)
def _imports_are_forgotten():
    """Those of other tests under these names, and those of these."""
    _forget()
    yield
    _forget()


def _forget():
    for name in ("mine", "problems", "wrapped"):
        sys.modules.pop(name, None)


def test_module_of_the_candidate_is_never_imported(pytester, monkeypatch):
    pytester.makepyfile(mine=MINE, problems=PROBLEMS)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    keeper = Gatekeeper()
    sys.meta_path.insert(0, keeper)
    monkeypatch.syspath_prepend(pytester.path)
    keeper.keep_out({str(pytester.path / "mine.py")})
    named = {"module": "problems", "path": ["exact"], "file": str(pytester.path / "problems.py")}
    functions = dict.fromkeys(("inputs", "reference", "exact"), named)
    recipe = {"backend": None, "functions": functions}
    with pytest.raises(NotRebuilt, match="problems can't be imported there: it imports the candidate's module mine"):
        rebuilt(recipe)
    assert "mine" not in sys.modules


def test_files_of_a_candidate_are_those_of_all_that_it_calls(pytester, monkeypatch):
    pytester.makepyfile(mine=MINE, wrapped=WRAPPED)
    monkeypatch.syspath_prepend(pytester.path)
    import wrapped

    assert {Path(one).name for one in files_of(wrapped.candidate)} == {"mine.py", "wrapped.py"}
    assert files_of(torch.relu) == frozenset()


def test_objects_beside_a_problem_are_not_asked_for_anything(pytester, monkeypatch):
    pytester.makepyfile(
        problems="""
        import torch
        from pytest_kgate import Problem

        class Deprecated:
            def __getattribute__(self, name):
                raise AssertionError(f"was asked for its {name}")

        OLD = Deprecated()
        RELU = Problem(name="relu", inputs=lambda g: (torch.ones(1),), reference=torch.relu, exact=lambda x: x)
        """
    )
    monkeypatch.syspath_prepend(pytester.path)
    import problems

    assert recipe_of(problems.RELU, None, frozenset())["held"]["path"] == ["RELU"]


@pytest.mark.parametrize("how", ["side_effect", "wraps"])
def test_mock_has_the_file_of_what_it_calls_and_is_asked_for_no_more(monkeypatch, tmp_path, how):
    """It makes an attribute of each name that it is asked for, and those have more: 2,800 mocks took three seconds."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    import mine

    mock = unittest.mock.MagicMock(**{how: mine.candidate})
    assert files_of(mock) == {str(tmp_path / "mine.py")}
    assert len(mock._mock_children) <= 1
