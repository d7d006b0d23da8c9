"""What an answer's nodes hold is read by Python's own functions: classes that compute are refused, and not asked."""

from __future__ import annotations

import abc
import dataclasses
from collections import OrderedDict
from collections import namedtuple

import pytest
import torch

from pytest_kgate.device.answer import copied
from pytest_kgate.device.answer import demand_data
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.trees import structure

Pair = namedtuple("Pair", "a b")
A, B = torch.ones(2), torch.zeros(3)


def computes(*_):
    raise AssertionError("its code was run")


@dataclasses.dataclass
class Plain:
    a: torch.Tensor
    b: torch.Tensor


class Meta(type):
    __iter__ = __dataclass_fields__ = property(computes)


class Fields:
    def __get__(self, instance, owner):
        computes()


class Counted(Pair):
    __len__ = computes


class Named(Pair):
    _fields = Fields()


class Called(Pair):
    __class__ = property(computes)


class Made(Pair):
    def __new__(cls, *_):
        computes()


HOLDS = [Counted, Named, Called, Made]


@pytest.mark.parametrize("kind", HOLDS)
def test_named_tuple_is_read_and_copied_without_its_class(kind):
    answer = tuple.__new__(kind, (A, B))
    demand_data(answer)
    assert all(map(torch.equal, outputs_of(copied(answer)).values(), (A, B)))


def test_dict_is_read_without_functions_of_its_own():
    answer = OrderedDict(a=A, b=B)
    answer.values = answer.keys = answer.items = computes
    demand_data(answer)
    assert all(map(torch.equal, outputs_of(copied(answer)).values(), (A, B)))


def test_dataclass_is_read_and_copied_without_its_class():
    class Copied(Plain):
        __class__ = property(computes)
        __copy__ = __reduce_ex__ = computes

    demand_data(Copied(A, B))
    assert all(map(torch.equal, outputs_of(copied(Copied(A, B))).values(), (A, B)))


class Missing(Plain):
    __getattr__ = computes


class Metaclassed(Pair, metaclass=Meta):
    pass


class Listed(Plain):
    __dataclass_fields__ = Fields()


@pytest.mark.parametrize(
    "answer",
    [object.__new__(Missing), tuple.__new__(Metaclassed, (A, B)), object.__new__(Listed)],
    ids=["fields that are not there", "a class of a class of its own", "a list of fields that is none"],
)
def test_node_that_may_compute_is_refused_unasked(answer):
    assert structure.computes(answer) is type(answer)
    with pytest.raises(CandidateError, match="may compute what it holds"):
        demand_data(answer)


def test_plain_nodes_are_no_suspects():
    class Abstract(Plain, metaclass=abc.ABCMeta):
        pass

    for answer in (
        Pair(A, B),
        Plain(A, B),
        Abstract(A, B),
        torch.ones(2, 2).max(0),
        OrderedDict(a=A),
        [A, (B, {"c": A})],
    ):
        demand_data(answer)
        assert outputs_of(copied(answer)).keys() == outputs_of(answer).keys()
