"""In the clean process: a problem made of its recipe, with the candidate's files and compiled kernels kept out."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pytest_kgate.bench.processes.clean.problem.recipe import NeedsCandidate
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.problems.trees.foreign import class_and_text

_OPENS_KERNELS = "pytest_kgate.build.library"
"""The module by which compiled kernels are opened: a problem that has some at hand may have the candidate."""


class CandidateKeptOut(ImportError):
    """A module that is imported for a problem was about to import the candidate's."""


class Gatekeeper(MetaPathFinder):
    """Refuses to find the modules of some files, whatever name they are imported by."""

    def __init__(self) -> None:
        self.files: frozenset[str] = frozenset()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the other finders; raises `CandidateKeptOut`."""
        if name == _OPENS_KERNELS:
            raise CandidateKeptOut("it opens compiled kernels")
        specs = (one.find_spec(name, path, target) for one in sys.meta_path if one is not self)
        spec = next((one for one in specs if one is not None), None)
        if spec is not None and _resolved(spec.origin) in self.files:
            raise CandidateKeptOut(f"it imports the candidate's module {name}")
        return spec

    def keep_out(self, files: Collection[str]) -> None:
        """Refuse these files from now on, and no others; raises `NeedsCandidate` where one was imported before."""
        self.files = frozenset(files)
        there = {_resolved(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
        if self.files & there:
            raise NeedsCandidate("the candidate's module was imported there for another problem")


def rebuilt(recipe: Mapping[str, Any]) -> Problem:
    """The problem of this recipe, with the one reference that was chosen; raises `NotRebuilt`."""
    backend = recipe["backend"]
    if "attention" in recipe:
        told = recipe["attention"]
        found = sdpa_problem(Shape(**told["shape"]), told["dtype"], backend, outputs=told["outputs"])
    elif "published" in recipe:
        from pytest_kgate.problems.published.published import made_of  # here, since few need it

        read = made_of(*recipe["published"])
        found = Problem("", read.inputs, read.reference, read.exact, read.hard_inputs, equal=read.equal, published=read)
    elif "functions" not in recipe:
        whole = _found(recipe["held"]) if "held" in recipe else _found(recipe["made"])()
        if not isinstance(whole, Problem):
            raise NotRebuilt("what is found there under the problem's name is none")
        found = whole
    else:
        found = Problem("", **{role: _function(one) for role, one in recipe["functions"].items()})
    reference = found.reference
    return Problem(
        name=recipe["name"],
        inputs=found.inputs,
        reference=reference[backend] if isinstance(reference, Mapping) else reference,
        exact=found.exact,
        hard_inputs=found.hard_inputs,
        mutates=tuple(recipe["mutates"]),
        tolerance={name: _value(one) for name, one in recipe["tolerance"].items()},
        params={name: _value(one) for name, one in recipe["params"].items()},
        equal=found.equal,
        rows=recipe["rows"],
    )


def _function(named: Mapping[str, Any]) -> Any:
    if "partial" not in named:
        return _found(named)
    arguments = (_value(one) for one in named["arguments"])
    keywords = {name: _value(one) for name, one in named["keywords"].items()}
    return functools.partial(_function(named["partial"]), *arguments, **keywords)


def _found(named: Mapping[str, Any]) -> Any:
    name = named["module"]
    try:
        module = importlib.import_module(name)
    except CandidateKeptOut as refused:
        raise NeedsCandidate(f"{name} can't be imported there: {refused}") from None
    except (Exception, SystemExit) as error:
        raise NotRebuilt(f"{name} can't be imported there: {class_and_text(error)}") from None
    except BaseException as error:  # pytest's outcomes are no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        raise NotRebuilt(f"{name} can't be imported there: {type(error).__name__}") from None
    if named["file"] is not None and _resolved(getattr(module, "__file__", None)) != named["file"]:
        raise NotRebuilt(f"{name} is another file there")
    found: Any = module
    for step in named["path"]:
        try:
            found = found[step] if isinstance(found, (dict, list, tuple)) else getattr(found, step)
        except (AttributeError, LookupError):
            raise NotRebuilt(f"{name} has no {step} there") from None
    return found


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "dtype":
        return getattr(torch, held)
    if kind == "shape":
        return Shape(**held)
    return tuple(map(_value, held)) if kind == "tuple" else {key: _value(one) for key, one in held.items()}


@functools.cache
def _resolved(file: str | None) -> str | None:
    return str(Path(file).resolve()) if file else None
