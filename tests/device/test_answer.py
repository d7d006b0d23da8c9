"""Only data counts as an answer."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

from pytest_kgate.device.answer import as_answer
from pytest_kgate.device.answer import demand_data
from pytest_kgate.errors import CandidateError


class Later(torch.Tensor):
    pass


class Array:
    def __dlpack__(self, **keywords):
        raise AssertionError("it was asked for its memory")


class Disguised:
    def __dlpack__(self, **keywords):
        raise AssertionError("it was asked for its memory")


Disguised.__module__ = "numpy"


@pytest.mark.parametrize("answer", [torch.ones(3), torch.nn.Parameter(torch.ones(3)), np.ones(3), torch.empty(0)])
def test_plain_answer_is_taken(answer):
    demand_data(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.ones(3).as_subclass(Later), "a subclass of Tensor"),
        (torch.ones(3, device="meta"), "without memory of its own"),
        (torch.eye(3).to_sparse(), "without memory of its own"),
        (torch._efficientzerotensor((3,)), "without memory of its own"),
        (torch.ones(3, dtype=torch.complex64).conj(), "pending conjugation"),
        (Array(), "whose __dlpack__ may compute"),
        (Disguised(), "whose __dlpack__ may compute"),
    ],
)
def test_answer_that_may_compute_when_read_is_refused(answer, said):
    with pytest.raises(CandidateError, match=said):
        demand_data(answer)


def with_own(answer, **functions):
    for name, function in functions.items():
        setattr(answer, name, function)
    return answer


def computing(*_):
    raise AssertionError("it was asked, and may compute")


@pytest.mark.parametrize("name", ["is_conj", "untyped_storage", "numel", "clone", "_is_zerotensor"])
@pytest.mark.parametrize("make", [torch.ones, lambda size: torch.nn.Parameter(torch.ones(size))])
def test_tensor_with_a_function_of_its_own_is_refused_unasked(make, name):
    with pytest.raises(CandidateError, match=f"with an? {name} of its own, which may compute"):
        demand_data(with_own(make(3), **{name: computing}))


def test_tensor_with_attributes_that_hide_nothing_is_taken():
    demand_data(with_own(torch.ones(3), scale=0.5, layer="first"))


@pytest.mark.parametrize("name", ["__dlpack__", "block_until_ready"])
def test_array_with_a_function_of_its_own_is_refused_unasked(name):
    jax = pytest.importorskip("jax.numpy")
    with pytest.raises(CandidateError, match=f"with a {name} of its own, which may compute"):
        as_answer(with_own(jax.ones(3), **{name: computing}), torch.ones(3), ())


@pytest.mark.parametrize("file", [None, "mlx.py"], ids=["made of nothing", "beside the tests"])
def test_array_of_a_module_that_has_but_a_librarys_name_is_refused(monkeypatch, tmp_path, file):
    library = types.ModuleType("mlx")
    library.array = type("array", (), {"__module__": "mlx", "__dlpack__": np.ndarray.__dlpack__})
    if file is not None:
        library.__file__ = str(tmp_path / file)
    monkeypatch.setitem(sys.modules, "mlx", library)
    with pytest.raises(CandidateError, match="a array, whose __dlpack__ may compute"):
        demand_data(library.array())
    library.__file__ = np.__file__
    demand_data(library.array())
    library.array.block_until_ready = lambda self: self  # a library's own class, patched
    with pytest.raises(CandidateError, match="a array, whose __dlpack__ may compute"):
        demand_data(library.array())


def test_array_that_is_no_tensor_is_refused_in_a_sentence_with_one_full_stop():
    with pytest.raises(CandidateError) as refused:
        as_answer(np.ones(3, dtype=">f4"), torch.ones(3), ())
    assert refused.value.what.endswith("is currently not supported.")
