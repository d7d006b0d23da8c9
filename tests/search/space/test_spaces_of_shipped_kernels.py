"""Spaces of benchmarks/search ask shipped kernels for knobs that they have, and for combinations that there are."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from pytest_kgate.build.registry import find_source
from pytest_kgate.search.space.device_facts import documented
from pytest_kgate.search.space.space import Space

FILE = Path(__file__).parents[3] / "benchmarks/search/test_spaces.py"


def spaces() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spaces_of_benchmarks", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OF_KERNELS = [
    (found[1], function, mark)
    for function in vars(spaces()).values()
    for mark in getattr(function, "pytestmark", ())
    if mark.name == "search" and (found := re.search(r'kernels\("(\w+)".*\*\*knobs\)', inspect.getsource(function)))
]


@pytest.mark.parametrize(("kernel", "function", "mark"), OF_KERNELS, ids=[one.__name__ for _, one, _ in OF_KERNELS])
def test_a_space_names_knobs_of_its_kernel_and_is_no_empty_one(kernel, function, mark):
    space = Space(**{"micro": {}, **mark.kwargs}, facts=documented("sm_90a"))
    assert set(space.names) <= {knob.name for knob in find_source(kernel).knobs}
    first = {**mark.kwargs.get("macro", {}), **mark.kwargs["micro"]}
    assert space.default.as_dict() == {name: values[0] for name, values in first.items()}  # constraints allow it
