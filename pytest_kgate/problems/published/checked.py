"""Files of published problems and tables in them, and what is said where one is missing or wrong."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees.foreign import said_by


def text_of(path: Path, todo: str) -> str:
    """What the file says; raises `UsageError` with this advice where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", todo) from None
    except ValueError as error:
        raise UsageError(f"{path} is no text: {said_by(error)}.", todo) from None


def json_of(path: Path, todo: str) -> Any:
    """The JSON document of the file; raises `UsageError` with this advice where it holds none."""
    text = text_of(path, todo)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {said_by(error)}.", todo) from None


class Checked:
    """Access to a table that names where it stands in what it complains about."""

    def __init__(self, data: Any, where: str, what: str) -> None:
        """`where` names it in a sentence; `what` is the kind of document that it should be part of."""
        self.where = where
        self._what = what
        if not isinstance(data, Mapping):
            raise self.wrong(f"it is {type(data).__name__}, where a table of names is wanted", "Correct it.")
        self.data: Mapping[str, Any] = data

    def wrong(self, why: str, todo: str) -> UsageError:
        """The error to raise."""
        return UsageError(f"{self.where} is no {self._what}: {why}.", todo)

    def demand(self, *names: str) -> None:
        """Raise where a name is missing."""
        missing = [name for name in names if name not in self.data]
        if missing:
            raise self.wrong(f"it has no {', '.join(missing)}", f"There are {', '.join(names)} in one.")

    def text(self, name: str) -> str:
        """The text of this name, which is not empty."""
        self.demand(name)
        found = self.data[name]
        if not isinstance(found, str) or not found:
            raise self.wrong(f"its {name} is {reprlib.repr(found)}", "It is a text.")
        return found

    def optional(self, name: str, kind: type, default: Any) -> Any:
        """What has this name, of this type; the default where there is none, or null."""
        found = self.data.get(name)
        if found is None:
            return default
        if not isinstance(found, kind):
            raise self.wrong(f"its {name} is {reprlib.repr(found)}", f"It is a {kind.__name__}.")
        return found

    def tables(self, name: str) -> dict[str, Checked]:
        """The tables in a table, by their names."""
        self.demand(name)
        inner = Checked(self.data[name], f"{name} of {self.where}", self._what)
        return {key: Checked(one, f"{key} in {name} of {self.where}", self._what) for key, one in inner.data.items()}
