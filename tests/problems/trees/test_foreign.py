"""Objects that answer to every name, or raise when they are asked, are read as having none of what is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.compiler.ninja import build_of
from pytest_kgate.problems.trees.foreign import NO_TEXT
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import name_of
from pytest_kgate.problems.trees.foreign import said_by
from pytest_kgate.problems.trees.foreign import str_of


class Everything:
    def __getattr__(self, name: str) -> Any:
        return self


class Raising:
    @property
    def build(self) -> Any:
        raise RuntimeError("there is none")

    @property
    def __name__(self) -> str:
        raise ZeroDivisionError


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


ODD = [Everything(), Raising(), mock.MagicMock(), mock.Mock(build=mock.Mock(spec=BuildResult))]


@pytest.mark.parametrize("odd", ODD, ids=lambda one: type(one).__name__)
def test_odd_object_is_taken_for_no_built_kernel(odd: object) -> None:
    assert build_of(odd) is None
    for name, kind in {"source": Path, "where": str, "knobs": Mapping, "libraries": tuple, "device_kind": str}.items():
        assert attribute(odd, name, kind) is None
    assert name_of(odd) == type(odd).__name__


def test_attribute_of_the_right_type_is_read_through_a_proxy() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return {"device_kind": "host", "name": "wmma"}[name]

    assert attribute(Proxy(), "device_kind", str) == "host"
    assert attribute(Proxy(), "build", BuildResult) is None  # a KeyError, where Python wants an AttributeError
    assert attribute(Proxy(), "libraries", tuple, ()) == ()
    assert name_of(Proxy()) == "wmma"


def test_name_is_the_objects_own_or_its_class_s() -> None:
    assert name_of(test_name_is_the_objects_own_or_its_class_s) == "test_name_is_the_objects_own_or_its_class_s"
    assert name_of(object()) == "object"


def test_text_that_can_t_be_had_is_said_so() -> None:
    assert str_of(Wordless()) == said_by(Wordless()) == NO_TEXT
    assert str_of(3) == "3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("it is so.", "it is so"),
        ("no stop", "no stop"),
        ("", "no message"),
        ("It is so. (Copy it with copy().).", "It is so. (Copy it with copy())"),
    ],
)
def test_what_an_exception_says_leaves_the_full_stop_to_the_sentence(text: str, said: str) -> None:
    assert said_by(ValueError(text)) == said
