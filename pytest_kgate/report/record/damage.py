"""Whether a record in a file is one: what of it is missing, or is something else than it must be.

It is held to records.schema.json, as far as reports rely on it: types, names that must be there, lists of words. What a
record has beyond that is left alone, so that files of a later version of this layout can be read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_Check = Callable[[object], "tuple[str, str] | None"]
"""Takes a value; what is wrong with it, as a path within the value and a clause behind it. None where nothing is."""

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
"""As JSON is read: `bool` is a type of its own, and no number."""


def damage(record: object) -> str | None:
    """What is wrong with it, as a clause: `its timing.rounds is missing`; None where nothing is."""
    found = _definition("Record")(record)
    if found is None:
        return None
    where, clause = found
    return f"its {where.removeprefix('.')} {clause}" if where else f"it {clause}"


@functools.cache
def _definitions() -> Mapping[str, Any]:
    text = Path(__file__).with_name("records.schema.json").read_text(encoding="utf-8")
    definitions: Mapping[str, Any] = json.loads(text)["$defs"]
    return definitions


@functools.cache
def _definition(name: str) -> _Check:
    return _check_of(_definitions()[name])


def _check_of(schema: Mapping[str, Any]) -> _Check:
    """A function made once for a schema: records have hundreds of values each, and files thousands of records."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return lambda value: _definition(name)(value)  # not looked up yet: definitions may contain each other
    if "anyOf" in schema:
        return _any_of([_check_of(one) for one in schema["anyOf"]])
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    types = frozenset(one for name in wanted for one in _TYPES[name])
    wrong = ("", f"is no {' or '.join(wanted)}")
    items = _check_of(schema["items"]) if "items" in schema else None
    fields = {name: _check_of(one) for name, one in schema.get("properties", {}).items()}
    required = schema.get("required", ())

    def check(value: object) -> tuple[str, str] | None:
        if words is not None and value not in words:
            return "", "is none that is known"
        if types and type(value) not in types:
            return wrong
        if isinstance(value, dict):
            return _of_object(value, required, fields)
        if isinstance(value, list) and items is not None:
            return _of_list(value, items)
        return None

    return check


def _any_of(checks: list[_Check]) -> _Check:
    def check(value: object) -> tuple[str, str] | None:
        found = []
        for one in checks:
            wrong = one(value)
            if wrong is None:
                return None
            found.append(wrong)
        return max(found, key=lambda wrong: len("".join(wrong)))  # of null and an object, the object's

    return check


def _of_object(value: Mapping[str, Any], required: list[str], fields: Mapping[str, _Check]) -> tuple[str, str] | None:
    for name in required:
        if name not in value:
            return f".{name}", "is missing"
    for name, one in value.items():
        if name in fields and (wrong := fields[name](one)) is not None:
            return f".{name}{wrong[0]}", wrong[1]
    return None


def _of_list(value: list[Any], check: _Check) -> tuple[str, str] | None:
    for index, one in enumerate(value):
        if (wrong := check(one)) is not None:
            return f"[{index}]{wrong[0]}", wrong[1]
    return None
