"""What a problem's functions go by: what a candidate replaces is named, what an honest reference does is not."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pytest_kgate.integrity.tampering.basis import Basis
from pytest_kgate.problems.problem import Problem

SHAPE = (2, 8)


def basis_of(reference):
    return Basis(Problem("scale", lambda g: (torch.ones(SHAPE),), reference, torch.relu), ())


class Scales(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = lambda x: 2 * x
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x):
        return self.inner(self.step(x))

    def twice(self, x):
        return 2 * x


class Other(nn.Linear):
    pass


class Wrapped(torch.Tensor):
    pass


def hide(one, name, value):
    object.__setattr__(one, name, value)


CHANGES = {
    "its class's": lambda one, patch: patch.setattr(Scales, "forward", lambda self, x: x),
    "its class's code": lambda one, patch: patch.setattr(Scales.twice, "__code__", (lambda self, x: x).__code__),
    "one that hides its class's": lambda one, patch: hide(one, "forward", lambda x: x),
    "its own": lambda one, patch: hide(one, "step", lambda x: x),
    "a hook": lambda one, patch: one.register_forward_hook(lambda *_: None),
    "a hook of a child": lambda one, patch: one.inner[0].register_forward_pre_hook(lambda *_: None),
    "a child's class's": lambda one, patch: patch.setattr(nn.Linear, "forward", lambda self, x: x),
    "a child's code": lambda one, patch: patch.setattr(nn.ReLU.forward, "__code__", (lambda self, x: x).__code__),
    "every module's": lambda one, patch: patch.setattr(nn.Module, "__call__", lambda self, x: x),
    "a child's class": lambda one, patch: hide(one.inner[0], "__class__", Other),
    "a child": lambda one, patch: one.inner.__setitem__(1, nn.ReLU()),
    "one child more": lambda one, patch: one.inner.insert(1, nn.Identity()),
    "a parameter's class": lambda one, patch: hide(one.inner[0].weight, "__class__", Wrapped),
    "a parameter's own": lambda one, patch: setattr(one.inner[0].weight, "t", lambda: None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "pick",
    [lambda one: one, lambda one: one.twice, lambda one: functools.partial(one), lambda one: lambda x: one(x)],
    ids=["module", "method", "partial", "closure"],
)
def test_what_a_module_goes_by_is_compared(monkeypatch, change, pick):
    one = Scales()
    basis = basis_of(pick(one))
    assert basis.changed() == []
    with monkeypatch.context() as patch:
        change(one, patch)
        assert basis.changed() != []


class Doubles(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x


class Calls:
    def __call__(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("reference", "owner", "name", "other"),
    [
        (Doubles.apply, Doubles, "forward", staticmethod(lambda ctx, x: x)),
        (lambda x: Doubles.apply(x), Doubles, "forward", staticmethod(lambda ctx, x: x)),
        (Calls(), Calls, "__call__", lambda self, x: x),
    ],
    ids=["a function of autograd", "the same in a function", "an object that is called"],
)
def test_what_a_class_has_is_compared(monkeypatch, reference, owner, name, other):
    basis = basis_of(reference)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, other)
        assert basis.changed() != []
    assert basis.changed() == []


def test_problem_that_is_given_another_class_is_named():
    problem = Problem("relu", lambda g: (torch.ones(4),), torch.relu, torch.relu)
    basis = Basis(problem, ())
    object.__setattr__(problem, "__class__", type("Other", (Problem,), {}))
    assert basis.changed() == ["the problem's class"]


class KeepsWhatItNeeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", None)
        self.calls, self.compiled = 0, None

    def forward(self, x):
        self.calls += 1
        if self.mask is None:
            self.mask, self.compiled, self.proj = torch.ones_like(x), torch.relu, nn.Identity()
        return self.proj(self.compiled(x * self.mask))


HONEST = {
    "keeps what it needs": KeepsWhatItNeeds,
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU()),
    "counts its batches": lambda: nn.BatchNorm1d(8),
    "recurrent": lambda: nn.LSTM(8, 8),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 8, batch_first=True),
    "normalized weights": lambda: parametrizations.weight_norm(nn.Linear(8, 8)),
    "spectral": lambda: nn.utils.spectral_norm(nn.Linear(8, 8)),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8))),
    "traced": lambda: torch.jit.trace(nn.Linear(8, 8), torch.ones(SHAPE)),
    "symbolic": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(8, 8))),
    "compiled": lambda: torch.compile(Scales(), backend="eager"),
    "compiled in place": lambda: compiled_in_place(Scales()),
    "a function, compiled": lambda: torch.compile(lambda x: x + 1, backend="eager"),
    "none of its children": lambda: nn.Sequential(nn.Identity(), nn.Sequential()),
}


def compiled_in_place(module):
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_what_an_honest_reference_does_is_no_change(make):
    reference = make()
    basis = basis_of(reference)
    for _ in range(2):
        reference(torch.ones(SHAPE) if not isinstance(reference, nn.TransformerEncoderLayer) else torch.ones(1, *SHAPE))
        assert basis.changed() == []
