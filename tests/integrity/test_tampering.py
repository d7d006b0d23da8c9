"""What a verdict rests on besides modules: operators, modes, tracers, gates, a problem's functions, samples."""

from __future__ import annotations

import cProfile
import functools
import gc
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_kgate.bench.race import race
from pytest_kgate.device import probe_rows
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError
from pytest_kgate.integrity.tampering.basis import Basis
from pytest_kgate.integrity.tampering.basis import Objects
from pytest_kgate.integrity.tampering.contents import HiddenMethods
from pytest_kgate.integrity.tampering.contents import Library
from pytest_kgate.integrity.tampering.operators import Operators
from pytest_kgate.integrity.tampering.tracing import profiler_to_restore
from pytest_kgate.integrity.tampering.tracing import untraced
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.statistics.gates import SpeedGate


@pytest.fixture
def operators():
    found = Operators()
    found.remember(torch)
    return found


def test_operator_that_is_taken_over_in_the_dispatcher_is_named(operators):
    library = torch.library.Library("aten", "IMPL")
    library.impl("nan_to_num_", lambda self, nan=None, posinf=None, neginf=None: self.zero_(), "CPU")
    try:
        assert operators.changed() == ["the operator aten::nan_to_num_ of CPU"]
    finally:
        library._destroy()
    assert operators.changed() == []


def test_open_mode_is_named_and_a_default_device_is_none(operators):
    class Slow(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with torch.device("cpu"):
        assert operators.changed() == []
    with Slow():
        assert operators.changed() == ["all operators, by the open mode Slow"]


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "softmax"])
def test_any_function_of_pytorch_that_a_reference_may_call_is_compared(monkeypatch, name):
    library = Library(torch.nn.functional)
    monkeypatch.setattr(torch.nn.functional, name, lambda *_: None)
    assert library.changed() == [name]


def test_method_that_hides_one_of_a_tensors_is_named(monkeypatch):
    methods = HiddenMethods(torch, "Tensor")
    monkeypatch.setattr(torch.Tensor, "nan_to_num_", lambda self: self, raising=False)
    monkeypatch.setattr(torch.Tensor, "a_new_name", 1, raising=False)
    assert methods.changed() == ["Tensor.nan_to_num_"]


def test_tracer_is_off_in_a_race_and_on_again_and_one_that_comes_on_is_named():
    def tracer(*_):
        return None

    before = sys.getprofile()
    sys.setprofile(tracer)
    try:
        with untraced() as turned_on:
            assert sys.getprofile() is None
        assert (turned_on, sys.getprofile()) == ([], tracer)
        with untraced() as turned_on:
            sys.setprofile(lambda *_: None)
        assert (turned_on, sys.getprofile()) == (["sys.setprofile"], tracer)
    finally:
        sys.setprofile(before)


def test_pytorch_tells_nobody_of_its_operators_in_a_race_and_does_so_again_afterwards():
    one = torch.ones(3)
    with torch.autograd.profiler.profile() as profiler:
        with untraced():
            one.cos()
        one.sin()
    assert {"aten::cos", "aten::sin"} & {event.name for event in profiler.function_events} == {"aten::sin"}


def test_profiler_of_python_goes_on_after_a_race():
    profiler = cProfile.Profile()
    before = sys.getprofile()
    profiler.enable()
    try:
        with untraced() as turned_on:
            _not_profiled()
        _profiled()
    finally:
        profiler.disable()
        sys.setprofile(before)
    seen = {entry.code.co_name for entry in profiler.getstats() if not isinstance(entry.code, str)}
    assert turned_on == []
    assert {"_profiled", "_not_profiled"} & seen == {"_profiled"}


def test_profiler_that_only_pytorch_can_set_is_off_in_a_race_and_stays_off():
    with torch.profiler.profile(with_stack=True):
        before = profiler_to_restore()
        with untraced() as turned_on:
            assert sys.getprofile() is None
        assert (turned_on, sys.getprofile(), before) == ([], None, None)


def _profiled():
    pass


def _not_profiled():
    pass


def test_bound_of_a_gate_that_changes_is_named():
    gate = SpeedGate(0.8)
    basis = Basis(sdpa_problem(Shape(1, 1, 8, 8)), (gate,))
    assert basis.changed() == []
    object.__setattr__(gate, "bound", 100.0)
    (told,) = basis.changed()
    assert "the test's gates, from (SpeedGate(bound=0.8" in told


def test_cell_of_a_references_closure_that_changes_is_named():
    problem = sdpa_problem(Shape(1, 1, 8, 8), backend="flash")
    basis = Basis(problem, ())
    problem.reference["flash"].__closure__[0].cell_contents = "math"
    assert basis.changed() == ["the problem's reference.flash.name"]


def test_module_that_stands_for_another_in_a_references_globals_is_named():
    names = {"torch": torch}
    exec("def reference(x):\n    return torch.sin(x)\n", names)
    problem = Problem("sin", lambda g: (torch.randn(4, generator=g),), names["reference"], torch.sin)
    basis = Basis(problem, ())
    names["torch"] = ModuleType("torch")
    assert basis.changed() == ["the problem's reference.torch"]


def test_reference_that_counts_or_compiles_itself_is_none_of_that():
    calls, compiled = 0, None

    def reference(x):
        nonlocal calls, compiled
        calls += 1
        compiled = compiled or torch.relu
        return compiled(x)

    problem = Problem("relu", lambda g: (torch.randn(4, generator=g),), functools.partial(reference), torch.relu)
    basis = Basis(problem, ())
    reference(torch.ones(1))
    assert basis.changed() == []


def test_arm_that_calls_another_function_and_class_that_stands_for_the_stopwatchs_are_named():
    class Halves(HostDevice):
        pass

    arm = Arm("reference", lambda inputs, output: output, takes_output=False)
    device, from_the_start = HostDevice(), Halves()
    objects = Objects()
    for name, one in (("the arm", arm), ("the device", device)):
        objects.add(name, one)
    assert objects.changed() == []
    object.__setattr__(arm, "call", print)
    device.__class__ = Halves
    objects.add("another", from_the_start)
    assert objects.changed() == ["the arm", "the device", "another"]


def test_samples_of_earlier_rounds_can_not_be_changed():
    device = FakeDevice({"candidate": 1e-5, "reference": 1e-5})
    arms = [Arm(name, lambda inputs, output: None, False) for name in ("candidate", "reference")]
    stopwatch = device.stopwatch(arms, Workload(lambda seed: (), lambda inputs: None), timer="auto", cache="hot")
    take = stopwatch.round

    def replaces(*arguments):
        for one in (one for one in gc.get_objects() if isinstance(one, Round)):
            object.__setattr__(one, "seconds", one.seconds * np.array([[0.5], [1]]))
        return take(*arguments)

    stopwatch.round = replaces
    with pytest.raises(TimingError, match="were changed while the race went on"):
        race.run(stopwatch, (SpeedGate(0.8),), race.Plan(10.0, 1), device.clock)


def test_timed_call_may_not_return_what_computes_when_it_is_read():
    class Later:
        def __dlpack__(self, **_):
            return torch.ones(1).__dlpack__()

    with pytest.raises(CandidateError, match="may compute when it is read"):
        probe_rows.ProbeRows._keep(None, 0, Later())
