"""A record can be written whatever objects of a user's have got into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import pytest

from pytest_kgate.problems.trees.foreign import NO_TEXT
from pytest_kgate.report.record.values import plain


class Endless:
    def tolist(self) -> Any:
        return Endless()

    def __str__(self) -> str:
        return "endless"


class Everything:
    def __getattr__(self, name: str) -> Any:
        return self

    def __str__(self) -> str:
        return "everything"


class Wordless:
    def __str__(self) -> str:
        raise ValueError("no text")


class Broken(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "broken"


@pytest.mark.parametrize(
    ("odd", "written"),
    [(Endless(), "endless"), (Everything(), "everything"), (Wordless(), NO_TEXT), (Broken(), "broken")],
    ids=lambda one: type(one).__name__,
)
def test_object_of_any_class_is_written_as_its_text(odd: Any, written: str) -> None:
    assert json.loads(json.dumps(plain({"a": [odd]}))) == {"a": [written]}


@pytest.mark.parametrize(
    "odd", [mock.MagicMock(), mock.Mock(spec=int), mock.Mock(spec=dict)], ids=["any", "int", "dict"]
)
def test_mock_is_written_as_its_text(odd: Any) -> None:
    assert "Mock" in json.loads(json.dumps(plain(odd)))


def test_what_contains_itself_has_an_end() -> None:
    around: list[Any] = [1]
    around.append(around)
    assert json.loads(json.dumps(plain(around))) == [1, "[1, [...]]"]
    same = {"a": 1}
    assert plain([same, same]) == [same, same]  # twice is not within itself


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    assert plain({"one": np.float32(0.5), "many": np.arange(2)}) == {"one": 0.5, "many": [0, 1]}
