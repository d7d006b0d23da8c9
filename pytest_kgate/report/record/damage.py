"""Whether a record in a file is one: what of it is missing, or is something else than it must be.

It is held to records.schema.json, as far as reports rely on it: types, names that must be there, lists of words,
patterns of text, ranges of numbers, lengths of lists. What a record has beyond that is left alone, so that files of a
later version of this layout can be read. And a gate's verdict must be what its interval and its bound say.
"""

from __future__ import annotations

import functools
import json
import operator
import re
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

_ROUNDED = 1e-6
"""An interval's end at its bound may be off by this share of it, as numbers are rounded."""

_LENGTHS = ("minItems", "maxItems")

_RANGES: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "minimum": (operator.ge, "less than"),
    "maximum": (operator.le, "more than"),
    "exclusiveMinimum": (operator.gt, "not above"),
    "exclusiveMaximum": (operator.lt, "not below"),
}
"""How a number must stand to the schema's, and what is said where it does not."""


def damage(record: object) -> str | None:
    """What is wrong with it, as a clause: `its timing.rounds is missing`; None where nothing is."""
    found = _definition("Record")(record) or _of_environment(record) or _of_gates(record)
    if found is None:
        return None
    where, clause = found
    return f"its {where.removeprefix('.')} {clause}" if where else f"it {clause}"


def _of_environment(record: Any) -> tuple[str, str] | None:
    """Of what each kind of device has for itself, the parts in which reports look something up."""
    environment = record["environment"]
    for name in ("cpu", "git", "gpu", "packages"):
        if not isinstance(environment.get(name), dict | None):
            return f".environment.{name}", "is no object"
    return None


def _of_gates(record: Any) -> tuple[str, str] | None:
    """A verdict that its own interval contradicts: one of them was changed since they were written."""
    for index, gate in enumerate(record["gates"]):
        ratio, bound = gate["ratio"], gate["bound"]
        if ratio is None:
            continue
        low, high = float(ratio["low"]), float(ratio["high"])
        if gate["verdict"] == "PASS" and high > bound * (1 + _ROUNDED):
            side = "below"
        elif gate["verdict"] == "FAIL" and low < bound * (1 - _ROUNDED):
            side = "above"
        else:
            continue
        said = (
            f"is {gate['verdict']}, and its ratio's interval [{low:.4g}, {high:.4g}] is not {side} its bound {bound:g}"
        )
        return f".gates[{index}]", said
    return None


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
        return _reference(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return _any_of(schema["anyOf"])
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    types = _types(schema)
    wrong = ("", f"is no {' or '.join(_type_names(schema))}")
    items = schema.get("items")
    item_types, item_check = (_plain(items), _check_of(items)) if items is not None else (None, None)
    properties = schema.get("properties", {})
    plain = {name: found for name, one in properties.items() if (found := _plain(one)) is not None}
    fields = {name: _check_of(one) for name, one in properties.items()}
    others = schema.get("additionalProperties")
    of_others = _check_of(others) if isinstance(others, dict) else None
    plain_others = _plain(others) or () if isinstance(others, dict) else ()
    required = frozenset(schema.get("required", ()))
    in_order = schema.get("required", ())
    least, most = (schema.get(name) for name in _LENGTHS)
    pattern = re.compile(schema["pattern"]) if "pattern" in schema else None
    ranges = [(holds, schema[name], said) for name, (holds, said) in _RANGES.items() if name in schema]

    def check(value: object) -> tuple[str, str] | None:
        if words is not None and value not in words:
            return "", "is none that is known"
        if types and type(value) not in types:
            return wrong
        if isinstance(value, dict):
            if not required <= value.keys():
                return f".{next(name for name in in_order if name not in value)}", "is missing"
            for name, one in value.items():
                # Most values are plain: their type is all that is asked of them.
                if type(one) in plain.get(name, plain_others):
                    continue
                field = fields.get(name, of_others)
                if field is not None and (found := field(one)) is not None:
                    return f".{name}{found[0]}", found[1]
        elif isinstance(value, list):
            if len(value) < (least or 0) or (most is not None and len(value) > most):
                return "", f"has {len(value)} items"
            if item_check is None or (item_types is not None and item_types.issuperset(map(type, value))):
                return None
            for index, one in enumerate(value):
                if (found := item_check(one)) is not None:
                    return f"[{index}]{found[0]}", found[1]
        elif isinstance(value, str):
            if pattern is not None and pattern.search(value) is None:
                return "", "is not written as it must be"
        elif isinstance(value, int | float):
            for holds, bound, said in ranges:
                if not holds(value, bound):
                    return "", f"is {value!r}, {said} {bound}"
        return None

    return check


def _reference(name: str) -> _Check:
    """It is not looked up yet: definitions may contain each other."""
    found: list[_Check] = []

    def check(value: object) -> tuple[str, str] | None:
        if not found:
            found.append(_definition(name))
        return found[0](value)

    return check


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    wanted = schema.get("type", [])
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _types(schema: Mapping[str, Any]) -> frozenset[type]:
    return frozenset(one for name in _type_names(schema) for one in _TYPES[name])


def _plain(schema: Mapping[str, Any]) -> frozenset[type] | None:
    """The types of which every value is right; None where more than its type is asked of a value."""
    if "anyOf" in schema:
        found = [_plain(one) for one in schema["anyOf"]]
        known = [one for one in found if one is not None]
        return frozenset[type]().union(*known) if known else None
    more = {"$ref", "enum", "const", "items", "properties", "additionalProperties", "required", "pattern"}
    inner = {*more, *_LENGTHS, *_RANGES} & schema.keys()
    return _types(schema) or None if not inner else None


def _any_of(schemas: list[Mapping[str, Any]]) -> _Check:
    checks = [_check_of(one) for one in schemas]

    def check(value: object) -> tuple[str, str] | None:
        found = []
        for one in checks:
            wrong = one(value)
            if wrong is None:
                return None
            found.append(wrong)
        return max(found, key=lambda wrong: len("".join(wrong)))  # of null and an object, the object's

    return check
