"""Constants of a problem reach the callables that take them, and no others, whatever kind of callable it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch

from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import blame
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemRaised

CONSTANTS = {"is_causal": True}


def plain(query: Any) -> Any:
    return query, "nothing"


def causal(query: Any, *, is_causal: bool) -> Any:
    return query, is_causal


def anything(query: Any, **keywords: Any) -> Any:
    return query, keywords["is_causal"]


def wrapper_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*inputs: Any, **keywords: Any) -> Any:
        return function(*inputs, **keywords)

    return wrapper


class Method:
    def plain(self, query: Any) -> Any:
        return plain(query)

    def causal(self, query: Any, is_causal: bool = False) -> Any:
        return causal(query, is_causal=is_causal)


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.func = causal  # an attribute of the user's, which says nothing of `forward`

    def forward(self, query: Any) -> Any:
        return plain(query)


class Causal(torch.nn.Module):
    def forward(self, query: Any, is_causal: bool = False) -> Any:
        return causal(query, is_causal=is_causal)


class Called:
    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return plain(*inputs, **keywords)


@dataclass
class Compiled:
    """What is to be compiled within its test: to do it while tests are collected costs each of their processes 3 s."""

    target: Any


def made(kind: Any) -> Any:
    return torch.compile(kind.target, backend="eager") if isinstance(kind, Compiled) else kind


WITHOUT = {
    "function": plain,
    "bound method": Method().plain,
    "module": Plain(),
    "compiled function": Compiled(plain),
    "compiled module": Compiled(Plain()),
    "partial": functools.partial(plain),
    "partial of a module": functools.partial(Plain()),
    "decorated": functools.wraps(plain)(wrapper_of(plain)),
    "wrapped": wrapper_of(plain),
    "wrapped module": wrapper_of(Plain()),
    "callable object": Called(),
}
WITH = {
    "function": causal,
    "any keyword": anything,
    "bound method": Method().causal,
    "module": Causal(),
    "compiled function": Compiled(causal),
    "compiled module": Compiled(Causal()),
    "partial": functools.partial(causal),
    "partial of a module": functools.partial(Causal()),
    "decorated": functools.wraps(causal)(wrapper_of(causal)),
    "wrapped": wrapper_of(causal),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_callable_that_takes_no_constant_is_called_without_it_and_that_is_known(kind: str) -> None:
    arm = bind("candidate", made(WITHOUT[kind]), CONSTANTS)
    for _ in range(2):
        assert arm.call((1,), None) == (1, "nothing")
    assert list(arm.ignored_params) == ["is_causal"]


@pytest.mark.parametrize("kind", WITH)
def test_callable_that_takes_the_constant_gets_it(kind: str) -> None:
    arm = bind("candidate", made(WITH[kind]), CONSTANTS)
    assert arm.call((1,), None) == (1, True)
    assert list(arm.ignored_params) == []


SIGNLESS = {
    "builtin": lambda: torch.relu,
    "TorchScript": lambda: torch.jit.script(torch.nn.ReLU()),
    "traced": lambda: torch.jit.trace(lambda x: x.relu(), torch.zeros(2)),
}
"""Made within their test, for the same reason."""


@pytest.mark.parametrize("kind", SIGNLESS)
def test_callable_without_a_signature_that_refuses_the_constant_is_called_without_it(kind: str) -> None:
    arm = bind("candidate", SIGNLESS[kind](), CONSTANTS)
    assert arm.call((torch.tensor([-1.0, 2.0]),), None).tolist() == [0.0, 2.0]
    assert list(arm.ignored_params) == ["is_causal"]


class Everything:
    """It answers to every name, as a mock and many a proxy do."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, query: Any, **keywords: Any) -> Any:
        return anything(query, **keywords)


class Incomparable(torch.nn.Module):
    __hash__ = None  # type: ignore[assignment]

    def forward(self, query: Any) -> Any:
        return plain(query)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it can't be compared")


class Nameless:
    @property
    def __name__(self) -> str:
        raise ZeroDivisionError

    def __call__(self, query: Any, is_causal: bool) -> Any:
        return query, is_causal


ODD = [Everything(), mock.MagicMock(side_effect=anything), mock.Mock(wraps=anything), Nameless()]


@pytest.mark.parametrize("odd", ODD, ids=lambda one: type(one).__name__)
def test_object_that_answers_to_every_name_is_called_as_the_callable_that_it_is(odd: Any) -> None:
    assert bind("candidate", odd, CONSTANTS).call((1,), None) == (1, True)


def test_object_that_raises_when_it_is_compared_is_offered_the_constant_and_may_refuse_it() -> None:
    arm = bind("candidate", Incomparable(), CONSTANTS)
    assert arm.call((1,), None) == (1, "nothing")
    assert list(arm.ignored_params) == ["is_causal"]


def test_error_whose_text_raises_is_named_by_its_class() -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def raising(query: Any) -> Any:
        raise Wordless

    said = r"The candidate raised Wordless: \(its text can't be had\)\."
    with pytest.raises(CandidateError, match=said), blame("The candidate", "it is called"):
        bind("candidate", raising, {}).call((1,), None)


def test_type_error_of_the_candidates_own_is_not_taken_for_a_refusal() -> None:
    def broken(query: Any, **keywords: Any) -> Any:
        raise TypeError("unsupported operand type(s) for +: 'int' and 'str'")

    with pytest.raises(TypeError, match="unsupported operand"):
        bind("candidate", broken, CONSTANTS).call((1,), None)


@pytest.mark.parametrize("error", [GeneratorExit, StopIteration, SystemExit], ids=lambda one: one.__name__)
def test_whatever_a_candidate_s_call_raises_names_it(error: type[BaseException]) -> None:
    def raising(query: Any) -> Any:
        raise error

    arm = bind("candidate", raising, {})
    said = f"The candidate raised {error.__name__}"
    with pytest.raises(CandidateError, match=said), blame("The candidate", "it is called", skips=True):
        arm.call((1,), None)


def test_end_of_the_process_and_of_a_generator_are_no_candidate_s() -> None:
    def interrupted(query: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), blame("The candidate", "it is called", skips=True):
        bind("candidate", interrupted, {}).call((1,), None)

    def waiting() -> Any:
        with blame("The candidate", "it is called", skips=True):
            yield

    generator = waiting()
    next(generator)
    generator.close()


def test_candidate_that_blames_the_problem_is_at_fault_itself() -> None:
    def raising(query: Any) -> Any:
        raise ProblemRaised("The reference raised.", "It is none of the candidate's.")

    said = "The candidate raised ProblemRaised"
    with pytest.raises(CandidateError, match=said) as told, blame("The candidate", "it is called"):
        bind("candidate", raising, {}).call((1,), None)
    assert type(told.value) is CandidateError
