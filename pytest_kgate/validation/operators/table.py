"""All operators, in the order in which docs/operators.md has them."""

from __future__ import annotations

from pytest_kgate.validation.operators import gradients
from pytest_kgate.validation.operators import indexing
from pytest_kgate.validation.operators import matrices
from pytest_kgate.validation.operators import rows
from pytest_kgate.validation.operators import sums
from pytest_kgate.validation.operators import uncommon
from pytest_kgate.validation.operators.operator import Operator

OPERATORS: tuple[Operator, ...] = (
    *rows.OPERATORS,
    *gradients.OPERATORS,
    *matrices.OPERATORS,
    *sums.OPERATORS,
    *indexing.OPERATORS,
    *uncommon.OPERATORS,
)
