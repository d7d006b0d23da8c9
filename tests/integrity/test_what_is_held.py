"""What a problem's functions hold: what a candidate changes of it is named, what honest functions change is not."""

from __future__ import annotations

import functools
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.checks.of_call import IntegrityChecks
from pytest_kgate.integrity.tampering.held.gpu_values import GpuValues
from pytest_kgate.integrity.tampering.held.held import Held
from pytest_kgate.problems.problem import Problem

HELPER = types.ModuleType("helper_of_a_reference")
HELPER.__file__ = __file__
HELPER.scale = lambda x: x


@functools.lru_cache
def table():
    return torch.ones(8)


@torch.library.custom_op("kgate_tests::held", mutates_args=())
def operator(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


class Settings:
    steps = 1


class Calls:
    def __init__(self):
        self.steps = 1

    def __call__(self, x):
        return self._times(x)

    def _times(self, x):
        return x * self.steps


def numbers(steps, scales, weight, array, settings, module, calls):
    def reference(x, again=1):
        import helper_of_a_reference

        for _ in range(again * steps * scales["all"] * settings.steps * reference.more):
            for layer in scales["layers"]:
                x = helper_of_a_reference.scale(layer(x * weight * table()))
        return torch.ops.kgate_tests.held(module(calls(x * torch.from_numpy(array))))

    reference.more = 1
    return reference


def made():
    parts = {
        "steps": 1,
        "scales": {"all": 1, "layers": [torch.relu]},
        "weight": torch.ones(8, 8),
        "array": np.ones(8, np.float32),
        "settings": Settings,
        "module": nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.0)),
        "calls": Calls(),
    }
    return numbers(**parts), parts


def cell(function, name):
    return function.__closure__[function.__code__.co_freevars.index(name)]


CHANGES = {
    "a number": lambda one, its, patch: setattr(cell(one, "steps"), "cell_contents", 3),
    "a default": lambda one, its, patch: setattr(one, "__defaults__", (3,)),
    "one of its own": lambda one, its, patch: setattr(one, "more", 3),
    "a dict's": lambda one, its, patch: its["scales"].update(all=3),
    "a list's": lambda one, its, patch: its["scales"]["layers"].append(torch.relu),
    "a class's": lambda one, its, patch: patch.setattr(Settings, "steps", 3),
    "an object's": lambda one, its, patch: setattr(its["calls"], "steps", 3),
    "a tensor's values": lambda one, its, patch: its["weight"].data.fill_(1e-39),
    "a tensor's strides": lambda one, its, patch: its["weight"].t_().as_strided_((8, 8), (0, 1)),
    "a tensor's memory": lambda one, its, patch: setattr(its["weight"], "data", torch.ones(8, 8)),
    "an array's values": lambda one, its, patch: its["array"].fill(0),
    "a weight's values": lambda one, its, patch: its["module"][0].weight.data.zero_(),
    "whether it trains": lambda one, its, patch: its["module"].train(False),
    "a rate": lambda one, its, patch: setattr(its["module"][1], "p", 0.5),
    "what is kept": lambda one, its, patch: table().zero_(),
    "a module's": lambda one, its, patch: patch.setattr(HELPER, "scale", lambda x: x),
    "a module": lambda one, its, patch: patch.setitem(sys.modules, HELPER.__name__, types.ModuleType(HELPER.__name__)),
    "an operator's kernel": lambda one, its, patch: operator.register_kernel("cpu")(lambda x: x.clone()),
    "a builtin's name": lambda one, its, patch: patch.setitem(globals(), "range", lambda *_: []),
}


def problem_of(reference, exact=torch.relu, **others):
    return Problem("held", lambda g: (torch.rand(8, 8, generator=g),), reference, exact, **others)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("pick", [lambda one: one, functools.partial], ids=["function", "partial"])
@pytest.mark.parametrize("late", [False, True], ids=["in the check", "in the race"])
def test_what_a_candidate_changes_of_what_a_reference_holds_is_named(monkeypatch, change, pick, late):
    table().fill_(1)
    monkeypatch.setitem(sys.modules, HELPER.__name__, HELPER)
    reference, parts = made()
    problem = problem_of(pick(reference))
    checks = checks_of(problem, lambda x: x)
    with monkeypatch.context() as patch:

        def candidate(x):
            if not late:
                change(reference, parts, patch)
            return x

        call_once(problem, checks, candidate)
        checks.phase_over()
        if late:
            assert not checks.findings.all
            change(reference, parts, patch)
            checks.phase_over()
    assert any("reference" in one.reason for one in checks.findings.all)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: object.__setattr__(one, "tolerance", {"output": 9.0}),
        lambda one: one.params.update(steps=3),
        lambda one: setattr(one.equal, "__code__", (lambda answer, exact, x: True).__code__),
        lambda one: object.__setattr__(one, "equal", None),
    ],
    ids=["tolerance", "params", "equal", "no equal"],
)
def test_what_a_candidate_changes_of_the_problem_is_named(change):
    problem = problem_of(
        lambda x, steps: x, tolerance={"output": 1e-3}, params={"steps": 1}, equal=lambda answer, exact, x: False
    )
    held = Held(problem)
    held.around(lambda inputs, output: change(problem))((), None)
    assert held.changed() != [] or problem.equal is None
    assert held.changed() != []


COUNTED = {"calls": 0, "of": []}
SHARED = {}
MADE = None


def counts(x):
    COUNTED["calls"] += 1
    COUNTED["of"].append("reference")
    return torch.relu(x)


def keeps(x):
    return torch.relu(x) * SHARED.setdefault(("relu", x.dtype), torch.ones(8))


def makes(x):
    global MADE
    if MADE is None:
        MADE = torch.ones(8)
    return torch.relu(x) * MADE


class Workspace(nn.Module):
    def __init__(self):
        super().__init__()
        self.space, self.last = torch.empty(8, 8), 0
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        self.last = float(x.sum())
        return torch.relu(self.norm(torch.add(x, 1.0, out=self.space)))

    def fast(self, x):
        self.seen = 1 + getattr(self, "seen", 0)
        return self(x)


@pytest.mark.parametrize(
    ("reference", "exact", "candidate"),
    [
        (counts, torch.relu, counts),
        (keeps, torch.relu, keeps),
        (torch.relu, keeps, keeps),
        (torch.relu, makes, makes),
        ((module := Workspace()), torch.relu, module.fast),
        (module.forward, torch.relu, module.fast),
        ((layers := nn.Sequential(nn.LazyLinear(8), nn.ReLU())), torch.relu, layers),
        (nn.LSTM(8, 8), torch.relu, torch.relu),
        (torch.compile(Workspace(), backend="eager"), torch.relu, torch.relu),
    ],
    ids=["counts", "keeps", "exact keeps", "made", "module", "method", "lazy", "recurrent", "compiled"],
)
def test_what_honest_functions_change_is_not_named(reference, exact, candidate):
    problem = problem_of(reference, exact)
    checks = checks_of(problem, candidate)
    for _ in range(2):
        call_once(problem, checks, candidate, reference, exact)
        checks.phase_over()
    assert not checks.findings.all


def test_buffer_of_which_a_reference_writes_other_places_in_the_race_is_its_own():
    buffer = torch.zeros(2**20)

    def reference(x, places=slice(0, 1)):
        buffer[places] += 1
        return torch.relu(x)

    checks = checks_of(problem_of(reference), torch.relu)
    call_once(checks._problem, checks, torch.relu, reference)
    checks.phase_over()
    reference(torch.ones(1), slice(None))
    checks.phase_over()
    assert not checks.findings.all


class Planned:
    """Makes its table anew where another dtype comes."""

    def __init__(self):
        self.kind, self.table = torch.float32, torch.ones(8)

    def __call__(self, x):
        if self.kind != x.dtype:
            self.kind, self.table = x.dtype, torch.ones(8, dtype=x.dtype)
        return torch.relu(x) * self.table


def test_what_honest_functions_change_to_and_fro_is_not_named():
    planned = Planned()
    problem = problem_of(planned, lambda x: planned(x.double()))
    checks = checks_of(problem, torch.relu)
    guarded, arm = checks.begin()
    inputs = guarded.inputs(torch.Generator().manual_seed(1))
    kept = planned.table
    for _ in range(2):
        arm.call(inputs, None)
        planned(*inputs)
        guarded.exact(*inputs)
        planned(*inputs)
        planned.table = kept  # where the memory that was freed is the next one's
    checks.phase_over()
    problem.exact(*inputs)
    checks.phase_over()
    assert not checks.findings.all


@pytest.mark.parametrize("size", [8, 60, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.complex128])
def test_values_that_are_compared_in_a_gpus_memory_are_told_of_who_changed_them(size, dtype):
    tensors = {name: torch.zeros(size, size, dtype=dtype).T for name in ("own", "both", "candidate's", "none")}
    values = GpuValues(tensors, 3)
    tensors["own"] += 1
    tensors["both"] += 1
    values.look(tensors, candidate_ran=False)
    tensors["both"] += 1
    tensors["candidate's"] += 1
    values.look(tensors, candidate_ran=True)
    values.look({}, candidate_ran=True)
    values.look(tensors, candidate_ran=False)
    assert values.changed() == ["candidate's"]


def checks_of(problem, candidate):
    return IntegrityChecks(bind("candidate", candidate, {}), HostDevice(), problem, on=True, own=False, says=())


def call_once(problem, checks, candidate, *others):
    """The order of a check: the reference, the candidate, and then the problem's own functions."""
    with torch.no_grad():
        if others:
            others[0](torch.rand(8, 8))
        checks._candidate = bind("candidate", candidate, {})
        guarded, arm = checks.begin()
        for seed in range(2):
            inputs = guarded.inputs(torch.Generator().manual_seed(seed))
            arm.call(inputs, None)
            for other in others:
                other(*inputs)
