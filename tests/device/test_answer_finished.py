"""On the host, a call is over when its answer is there: arrays that are computed behind the call's return."""

from __future__ import annotations

import sys
import threading
import time
import types
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pytest_kgate.device.answer import as_answer
from pytest_kgate.device.answer import finished
from pytest_kgate.device.arm import bind
from pytest_kgate.errors import CandidateError

_LATE_SECONDS = 0.02


class Array:
    """An array whose values come from a thread, as those of JAX do."""

    def __init__(self, function, *tensors):
        self._thread = threading.Thread(target=self._compute, args=(function, *tensors))
        self._error = None
        self._thread.start()

    def _compute(self, function, *tensors):
        time.sleep(_LATE_SECONDS)
        try:
            self._values = function(*tensors)
        except ValueError as error:
            self._error = error

    def wait(self):
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __dlpack__(self, **keywords):
        self.wait()
        return self._values.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return (1, 0)


class ReadyArray(Array):
    def block_until_ready(self):
        self.wait()
        return self


@pytest.fixture(params=[Array, ReadyArray], ids=["waits for DLPack", "block_until_ready"])
def kind(request, monkeypatch):
    """A class of a library that is known, which a stand-in for the library holds."""
    library = types.ModuleType("jax")
    setattr(library, request.param.__name__, request.param)
    monkeypatch.setitem(sys.modules, "jax", library)
    monkeypatch.setattr(request.param, "__module__", "jax")
    monkeypatch.setattr("pytest_kgate.problems.trees.genuine.is_installed_class", lambda kind, members: True)
    return request.param


def test_time_of_an_array_that_is_not_finished_counts(kind):
    arm = finished(bind("candidate", lambda x: kind(torch.relu, x), {}))
    x = torch.randn(8)
    start = time.perf_counter()
    result = arm.call((x,), None)
    assert time.perf_counter() - start >= _LATE_SECONDS
    assert torch.equal(as_answer(result, torch.empty(8), (x,)), torch.relu(x))


def test_what_fails_behind_the_return_is_the_candidates_error():
    def fails(x):
        raise ValueError("out of tiles")

    with pytest.raises(CandidateError, match="The candidate raised ValueError: out of tiles"):
        finished(bind("candidate", lambda x: ReadyArray(fails, x), {})).call((torch.randn(8),), None)


@pytest.mark.parametrize("answer", [np.array(["a"] * 8), np.ones(16)[::-2], np.ones(8, ">f4")])
def test_array_that_is_no_tensor_is_told_so(answer):
    said = "The candidate returned a ndarray that can't be read as a tensor"
    with pytest.raises(CandidateError, match=said) as told:
        as_answer(answer, torch.empty(8), ())
    assert "np.ascontiguousarray(result, np.float32)" in told.value.todo


class Lies(dict):
    """Holds one output, and says that it holds none."""

    def values(self):
        return iter(())


class Couple(NamedTuple("Couple", [("a", torch.Tensor), ("b", torch.Tensor)])):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("made", [lambda x: Lies(y=x * 2), lambda x: Couple(x, x * 2)], ids=["dict", "named tuple"])
def test_container_that_lies_of_what_it_holds_is_left_to_be_refused(made):
    x = torch.randn(8)
    result = finished(bind("candidate", made, {})).call((x,), None)
    with pytest.raises(CandidateError, match=r"returned an? (Lies|Couple), which may compute what it holds"):
        as_answer(result, x, (x,))


def test_object_that_raises_whatever_it_is_asked_for_is_no_tensor():
    class Raises:
        def __getattr__(self, name):
            raise ValueError(f"no {name}")

    x = torch.randn(8)
    result = finished(bind("candidate", lambda x: Raises(), {})).call((x,), None)
    with pytest.raises(CandidateError, match="returned a Raises, not a tensor"):
        as_answer(result, x, (x,))
