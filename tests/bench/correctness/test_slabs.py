"""Comparing slab by slab finds what comparing at once finds."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pytest_kgate.bench.correctness import weakness
from pytest_kgate.bench.correctness.comparison import slabs as module
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.mutants.transforms import CHANGES
from pytest_kgate.bench.correctness.mutants.transforms import changed
from pytest_kgate.bench.correctness.mutants.transforms import last_row_missing
from pytest_kgate.bench.correctness.mutants.transforms import row_late

SHAPES = [(), (1,), (7,), (1000,), (3, 5), (40, 3), (4, 2000), (130, 129), (2, 3, 4, 200), (700, 2), (3, 500, 2)]


@pytest.mark.parametrize("elements", [64, 256, 2**20])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_slabs_cover_each_element_once_and_keep_its_piece(monkeypatch, shape, elements):
    monkeypatch.setattr(module, "_SLAB_ELEMENTS", elements)
    values = torch.randn(shape, dtype=torch.float64)
    numbers = torch.arange(values.numel()).reshape(shape)
    seen, squares = [], torch.zeros(module.count_pieces(shape), dtype=torch.float64)
    for slab in module.slabs(shape):
        part = numbers[slab.index]
        assert int(part.flatten()[0]) == slab.start
        seen += part.flatten().tolist()
        own = module.slab_pieces(values[slab.index], shape).square().sum(1)
        squares[slab.piece : slab.piece + len(own)] += own
    assert seen == list(range(values.numel()))
    assert torch.allclose(squares, module.pieces(values).square().sum(1))


@pytest.mark.parametrize("fault", ["none", "element", "row", "everywhere", "nan"])
@pytest.mark.parametrize("shape", [(40, 300), (700, 2), (6, 50, 20)], ids=str)
def test_a_comparison_in_slabs_finds_the_same(monkeypatch, shape, fault):
    exact = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    reference = exact.half()
    answer = reference.clone()
    if fault == "element":
        answer[(-1,) * len(shape)] += 1
    elif fault == "row":
        answer[-1] *= 1.01
    elif fault == "everywhere":
        answer = (answer.float() * 1.002).half()
    elif fault == "nan":
        answer[-1, -1] = float("nan")

    def found():
        truth = ExactAnswer(exact, reference)
        limits = dataclasses.replace(truth.limits(None), rtol=1e-3)
        return truth.compare(answer, limits), truth.rms, truth.rounding, truth.same(answer, reference)

    whole = found()
    monkeypatch.setattr(module, "_SLAB_ELEMENTS", 64)
    parts = found()
    assert bool(whole[0].failed) == (fault != "none")
    assert parts[0].failed == whole[0].failed
    assert repr(parts[0].place) == repr(whole[0].place)  # NaN is not equal to itself
    assert parts[0].reason == whole[0].reason
    assert parts[0].row_excess == pytest.approx(whole[0].row_excess)
    assert parts[1:] == pytest.approx(whole[1:])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wrong_answer_made_in_slabs_is_the_one_made_at_once(monkeypatch, shape, change):
    answer = torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    whole = changed(answer, change)
    monkeypatch.setattr(module, "_SLAB_ELEMENTS", 64)
    assert torch.equal(changed(answer, change), whole)
    rows = answer.reshape(-1, shape[-1] if len(shape) > 1 else 1)
    if change is row_late:
        assert torch.equal(whole.reshape(rows.shape), rows.roll(1, 0))
    if change is last_row_missing:
        assert torch.equal(whole.reshape(rows.shape)[:-1], rows[:-1])
        assert not whole.reshape(rows.shape)[-1].any()


@pytest.mark.parametrize("differs", ["nowhere", "in every slab", "in a slab that is not kept"])
def test_of_a_large_answer_some_slabs_are_remembered_and_tell_whether_draws_differ(monkeypatch, differs):
    monkeypatch.setattr(module, "_SLAB_ELEMENTS", 64)
    monkeypatch.setattr(weakness, "_KEPT_BYTES", 2 * 64 * 4)
    survivors = weakness.Survivors(None)
    for draw in range(5):
        exact = torch.randn(16, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        if differs == "in every slab":
            exact += draw
        elif differs == "in a slab that is not kept":
            exact[1] += draw
        survivors.add(ExactAnswer(exact, exact.float()))
    assert survivors.names == (("a remembered answer",) if differs == "nowhere" else ())
