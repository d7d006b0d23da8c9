"""The file of a grid: fields that all shapes share, and a list of shapes, any of whose fields may have several values.

[defaults]
head_dim = 64
[[shapes]]
batch = 1
seqlen = [512, 1024]

The fields are those of `Shape`, whichever it has.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any
from typing import NoReturn

from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.problems.grids import toml_lines
from pytest_kgate.problems.grids import yaml_lines
from pytest_kgate.problems.grids.located import Fault
from pytest_kgate.problems.grids.located import Located
from pytest_kgate.problems.shape import Shape

_READERS = {".toml": toml_lines.read, ".yaml": yaml_lines.read, ".yml": yaml_lines.read}

SUFFIXES = tuple(_READERS)
"""Of files that a grid can be read from."""

SUFFIXES_IN_WORDS = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"

_PARTS = ("defaults", "shapes")

_FIELDS = tuple(field.name for field in dataclasses.fields(Shape))

_NEEDED = tuple(field.name for field in dataclasses.fields(Shape) if field.default is dataclasses.MISSING)

_HOW = "Each begins with `[[shapes]]` in TOML, and with `- ` in YAML."

__tracebackhide__ = True


def read(path: Path, name: str) -> tuple[Shape, ...]:
    """The shapes of a file; raises `UsageError` that calls it by `name`, and names the line and the field."""
    try:
        return tuple(_shapes(_READERS[path.suffix.lower()](_text(path, name))))
    except Fault as fault:
        raise UsageError(f"{name}, line {fault.line}: {fault.what}", fault.todo) from None
    except LibraryMissing as error:
        raise LibraryMissing(f"{name} can't be read: {error.what}", error.todo) from None


def check_suffix(path: Path) -> None:
    """Raise `UsageError` where no grid can be read from a file of this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is no file of shapes.", f"Its name must end in {SUFFIXES_IN_WORDS}.")


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"{name} can't be read: {why}.", "Name a file of shapes in TOML or YAML.") from None


def _shapes(document: Located) -> Iterator[Shape]:
    parts = _table(document, "A grid has the parts `shapes` and, if wanted, `defaults`.")
    for name, part in parts.items():
        if name not in _PARTS:
            raise Fault(part.line, f"{name!r} is no part of a grid.{hint(name, _PARTS)}", "It has defaults and shapes.")
    defaults = _fields(parts["defaults"]) if "defaults" in parts else {}
    entries = parts.get("shapes", Located(None, document.line))
    if entries.value in (None, []):
        raise Fault(entries.line, "the grid has no shapes.", f"List some under `shapes`. {_HOW}")
    if not isinstance(entries.value, list):
        raise Fault(entries.line, "`shapes` is not a list of shapes.", _HOW)
    seen: dict[Shape, int] = {}
    for entry in entries.value:
        for shape in _combinations({**defaults, **_fields(entry)}, entry.line):
            if shape in seen:
                raise Fault(entry.line, f"{shape} is there twice, first in line {seen[shape]}.", "Keep one of the two.")
            seen[shape] = entry.line
            yield shape


def _table(found: Located, todo: str) -> Mapping[str, Located]:
    if not isinstance(found.value, dict):
        raise Fault(found.line, f"{_shown(found)} is not a table of names and values.", todo)
    return found.value


def _fields(entry: Located) -> Mapping[str, Located]:
    fields = _table(entry, "Write its fields, as in `{batch: 1, heads: 8, seqlen: 512, head_dim: 64}`.")
    for name, field in fields.items():
        if name not in _FIELDS:
            raise Fault(
                field.line, f"a shape has no field {name!r}.{hint(name, _FIELDS)}", f"It has {', '.join(_FIELDS)}."
            )
    return fields


def _combinations(fields: Mapping[str, Located], line: int) -> Iterator[Shape]:
    """A shape for each combination of the fields' values; the last field changes first."""
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        raise Fault(line, f"the shape has no {' and no '.join(missing)}.", "Give it here, or under `defaults`.")
    names = [name for name in _FIELDS if name in fields]
    for values in product(*(_values(name, fields[name]) for name in names)):
        try:
            shape = Shape(**dict(zip(names, values, strict=True)))
        except (ValueError, TypeError) as error:
            _refuse(str(error), fields, line)
        yield shape


def _values(name: str, field: Located) -> list[Any]:
    found = field.value if isinstance(field.value, list) else [field]
    if not found:
        raise Fault(field.line, f"{name} has no values.", "Give it one, or several.")
    for one in found:
        if isinstance(one.value, list | dict):
            raise Fault(one.line, f"{name} cannot be {_shown(one)}.", "It takes a value, or a list of values.")
    return [one.value for one in found]


def _refuse(said: str, fields: Mapping[str, Located], line: int) -> NoReturn:
    """What `Shape` said, with the line of the field that it names first."""
    named = next((name for name in re.findall(r"Shape\.(\w+)", said) if name in fields), None)
    at = line if named is None else fields[named].line
    raise Fault(at, f"{said.replace('Shape.', '')}.", "Mend the value, here or under `defaults`.")


def _shown(found: Located) -> str:
    if isinstance(found.value, list):
        return "a list"
    return "a table" if isinstance(found.value, dict) else repr(found.value)
