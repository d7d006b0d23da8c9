"""A pytest plugin that tests whether a kernel is faster than its reference, and right."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "Backward",
    "GateFailure",
    "Kbench",
    "Kernels",
    "KgateError",
    "Problem",
    "Record",
    "SdpaOracle",
    "Shape",
    "UsageError",
    "__version__",
    "equal",
    "evaluate",
    "sdpa_problem",
    "shapes",
]

if TYPE_CHECKING:
    from pytest_kgate.errors import KgateError
    from pytest_kgate.errors import UsageError
    from pytest_kgate.evaluation.evaluate import evaluate
    from pytest_kgate.problems import equal
    from pytest_kgate.problems.attention.problem import sdpa_problem
    from pytest_kgate.problems.backward import Backward
    from pytest_kgate.problems.grids import shapes
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.shape import Shape
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.session.fixtures.fixture_types import Kbench
    from pytest_kgate.session.fixtures.fixture_types import Kernels
    from pytest_kgate.session.fixtures.fixture_types import SdpaOracle
    from pytest_kgate.session.outcome import GateFailure
else:  # a type checker that saw this function would take any name for one of the package
    _MODULES = {
        "Backward": "pytest_kgate.problems.backward",
        "GateFailure": "pytest_kgate.session.outcome",
        "Kbench": "pytest_kgate.session.fixtures.fixture_types",
        "Kernels": "pytest_kgate.session.fixtures.fixture_types",
        "KgateError": "pytest_kgate.errors",
        "Problem": "pytest_kgate.problems.problem",
        "Record": "pytest_kgate.report.record.record",
        "SdpaOracle": "pytest_kgate.session.fixtures.fixture_types",
        "Shape": "pytest_kgate.problems.shape",
        "UsageError": "pytest_kgate.errors",
        "evaluate": "pytest_kgate.evaluation.evaluate",
        "sdpa_problem": "pytest_kgate.problems.attention.problem",
    }
    _WHOLE_MODULES = {
        "equal": "pytest_kgate.problems.equal",
        "shapes": "pytest_kgate.problems.grids.shapes",
    }

    def __getattr__(name):
        # Resolved on first use: `import pytest_kgate.plugin` runs in every pytest session and must not import torch.
        if name in _WHOLE_MODULES:
            return importlib.import_module(_WHOLE_MODULES[name])
        if name in _MODULES:
            return getattr(importlib.import_module(_MODULES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
