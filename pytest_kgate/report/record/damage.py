"""Whether a record in a file is one: what of it is missing, or is something else than it must be.

It is held to records.schema.json, as far as reports rely on it: types, names that must be there, lists of words. What a
record has beyond that is left alone, so that files of a later version of this layout can be read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def damage(record: object) -> str | None:
    """What is wrong with it, as a clause: `its timing.rounds is missing`; None where nothing is."""
    return _damage(record, {"$ref": "#/$defs/Record"}, "")


@functools.cache
def _definitions() -> Mapping[str, Any]:
    text = Path(__file__).with_name("records.schema.json").read_text(encoding="utf-8")
    definitions: Mapping[str, Any] = json.loads(text)["$defs"]
    return definitions


def _damage(value: object, schema: Mapping[str, Any], where: str) -> str | None:
    if "$ref" in schema:
        schema = _definitions()[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [_damage(value, one, where) for one in schema["anyOf"]]
        return None if None in found else max(filter(None, found), key=len)  # of null and an object, the object's
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if words is not None and value not in words:
        return f"its {where} is none that is known"
    wanted = schema.get("type")
    if wanted and not _is_one_of([wanted] if isinstance(wanted, str) else wanted, value):
        kind = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return f"its {where} is no {kind}" if where else f"it is no {kind}"
    if isinstance(value, dict):
        return _damage_of_object(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        items = (_damage(one, schema["items"], f"{where}[{index}]") for index, one in enumerate(value))
        return next(filter(None, items), None)
    return None


def _damage_of_object(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> str | None:
    prefix = f"{where}." if where else ""
    for name in schema.get("required", ()):
        if name not in value:
            return f"its {prefix}{name} is missing"
    known = schema.get("properties", {})
    fields = (_damage(one, known[name], f"{prefix}{name}") for name, one in value.items() if name in known)
    return next(filter(None, fields), None)


def _is_one_of(types: list[str], value: object) -> bool:
    return any(isinstance(value, _TYPES[one]) and (one == "boolean" or not isinstance(value, bool)) for one in types)
