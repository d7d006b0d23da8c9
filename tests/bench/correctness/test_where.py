"""A wrong answer is shown on a map: in which part of the output all that is wrong lies."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import on_small
from pytest_kgate.bench.correctness.comparison import slabs
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.comparison.where import where_wrong
from pytest_kgate.device.host import HostDevice


@pytest.mark.parametrize("slab_elements", [2**20, 700, 61])  # all; several rows; less than a row, across its ends
@pytest.mark.parametrize(
    ("index", "said"),
    [
        ((slice(None), 3), "3 of 8 of axis 1"),
        ((slice(None), slice(None), slice(96, None)), "96 to 127 (the last 32) of 128 of axis 2"),
        ((slice(None), slice(None), slice(None), slice(0, None, 16)), "every 16th from 0 to 48 of 64 of axis 3"),
        ((1, slice(None), -1), "1 (the last) of 2 of axis 0 and 127 (the last) of 128 of axis 2"),
        ((0, [0, 1, 5]), "0 of 2 of axis 0 and 0, 1, 5 of 8 of axis 1"),
        ((slice(None),), ""),
    ],
)
def test_part_in_which_all_wrong_elements_lie_is_named(monkeypatch, index, said, slab_elements):
    monkeypatch.setattr(slabs, "_SLAB_ELEMENTS", slab_elements)
    exact = torch.randn(2, 8, 128, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    answer = exact.float()
    answer[index] += 1
    assert where_wrong(ExactAnswer(exact, exact.float()), answer, Limits(1e-3, 0.0, 32.0)) == said


def relu(rows):
    return Problem(
        name=f"relu of {rows}",
        inputs=lambda g: (torch.randn(rows, 8, generator=g),),
        reference=torch.relu,
        exact=lambda x: torch.relu(x.double()),
    )


@pytest.mark.parametrize(("tile", "said"), [(32, "wrong on relu of 65 as well"), (128, "right on relu of 65")])
def test_smaller_problem_that_a_wrong_candidate_gets_wrong_too_is_named(tile, said):
    def without_tile(x):
        y = torch.relu(x)
        y[tile : tile + 32] = 0
        return y

    problem = dataclasses.replace(relu(256), small=relu(65))
    request = types.SimpleNamespace(problem=problem, candidate=without_tile, error=None, seed=42)
    assert on_small(HostDevice(), request, None) == said


@pytest.mark.parametrize("larger", [torch.relu, {"ours": torch.relu}], ids=["a function", "a backend"])
def test_smaller_problem_is_judged_where_the_larger_one_was_given_another_reference(larger):
    small = dataclasses.replace(relu(65), reference={"math": torch.relu})
    problem = dataclasses.replace(relu(256), small=small, reference=larger)
    request = types.SimpleNamespace(problem=problem, candidate=torch.zeros_like, error=None, seed=42)
    backend = None if callable(larger) else "ours"
    assert on_small(HostDevice(), request, backend) == "wrong on relu of 65 as well"
