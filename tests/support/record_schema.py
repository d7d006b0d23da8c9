"""The JSON Schemas of files of records and of what `kgate evaluate` prints: made of their types, and held against them.

`python tests/support/record_schema.py` writes records.schema.json and evaluation.schema.json anew.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import sys
import textwrap
import typing
from pathlib import Path
from types import NoneType
from types import UnionType
from typing import TYPE_CHECKING
from typing import Any

from typing_extensions import NotRequired

from pytest_kgate.evaluation.verb import answer
from pytest_kgate.report.record import record
from pytest_kgate.report.record.facts.timing import EvidenceFacts
from pytest_kgate.report.record.record import KernelFacts
from pytest_kgate.report.record.record import RecordsDocument

if TYPE_CHECKING:
    import jsonschema

SCHEMA_FILE = Path(record.__file__).with_name("records.schema.json")
EVALUATION_SCHEMA_FILE = Path(answer.__file__).with_name("evaluation.schema.json")

_OPEN = (EvidenceFacts, KernelFacts)
"""Types whose dicts may have keys besides those that are named, which no TypedDict can say of itself."""

_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def demand_valid(content: Any) -> None:
    """Raise `jsonschema.ValidationError` where a file's content does not fit."""
    _validator(SCHEMA_FILE).validate(content)


def demand_valid_evaluation(content: Any) -> None:
    """The same of what `kgate evaluate` prints."""
    _validator(EVALUATION_SCHEMA_FILE).validate(content)


@functools.cache
def _validator(file: Path) -> jsonschema.Draft202012Validator:
    """Made once; to check the schema itself would take sixty times as long as to check by it; `tests/report` does."""
    import jsonschema  # not ahead of the tests that do without it, on machines that have none

    return jsonschema.Draft202012Validator(json_schema(file))


def json_schema(file: Path = SCHEMA_FILE) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of records, or another one, as the package has it."""
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def schema_text(cls: type = RecordsDocument, title: str = "Records of pytest-kgate") -> str:
    """The JSON Schema as the types have it now, as text for the file."""
    definitions: dict[str, Any] = {}
    root = _object(cls, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    schema = {**head, **root, "$defs": dict(sorted(definitions.items()))}
    return json.dumps(schema, indent=1) + "\n"


def evaluation_schema_text() -> str:
    """The same for what `kgate evaluate` prints."""
    return schema_text(answer.Evaluation, "What kgate evaluate prints")


def _object(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a TypedDict."""
    # the modules of the types import it for type checkers only
    hints = typing.get_type_hints(cls, localns={"NotRequired": NotRequired}, include_extras=True)
    texts = _docstrings(cls)
    properties, required = {}, []
    for name, hint in hints.items():
        optional = typing.get_origin(hint) is NotRequired
        if not optional and cls.__total__:  # type: ignore[attr-defined]
            required.append(name)
        schema = _schema(typing.get_args(hint)[0] if optional else hint, definitions)
        properties[name] = {"description": texts[name], **schema} if name in texts else schema
    return {
        "description": _one_line(inspect.getdoc(cls) or ""),
        "type": "object",
        "required": required,
        "additionalProperties": cls in _OPEN,
        "properties": properties,
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type. TypedDicts become references to `definitions`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if typing.is_typeddict(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # before its parts, which may name it
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is Any:
        return {}
    if origin is typing.Annotated:
        schema = _schema(arguments[0], definitions)
        for constraint in arguments[1:]:
            schema |= _constraint(constraint, schema["type"])
        return schema
    if origin is typing.Literal:
        return {"enum": list(arguments)} if len(arguments) > 1 else {"const": arguments[0]}
    if origin in (typing.Union, UnionType):
        return {"anyOf": [_schema(one, definitions) for one in arguments]}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict and arguments[0] is str:
        values = _schema(arguments[1], definitions)
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    raise TypeError(f"{hint} has no JSON Schema here")


def _constraint(text: str, of: str) -> dict[str, Any]:
    """What a string of an `Annotated` says: `>= 0`, `length 3`, `length >= 1`, `pattern ...`, `format ...`."""
    word, _, rest = text.partition(" ")
    if word in _BOUNDS:
        return {_BOUNDS[word]: json.loads(rest)}
    if word in ("pattern", "format"):
        return {word: rest}
    if word == "length":
        least, most = ("minLength", "maxLength") if of == "string" else ("minItems", "maxItems")
        sign, _, number = rest.rpartition(" ")
        return {key: int(number) for key in {"": (least, most), ">=": (least,), "<=": (most,)}[sign]}
    raise ValueError(f"{text!r} is no constraint")


def _docstrings(cls: type) -> dict[str, str]:
    """What stands under each field of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: _one_line(inspect.cleandoc(text.value.value))
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    EVALUATION_SCHEMA_FILE.write_text(evaluation_schema_text(), encoding="utf-8")
    print(f"wrote {SCHEMA_FILE} and {EVALUATION_SCHEMA_FILE}", file=sys.stderr)
