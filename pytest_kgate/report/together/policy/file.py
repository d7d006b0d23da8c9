"""The file of a policy: rules as tables of TOML, each of which may stand there several times.

[[speedup]]
ratio = 0.90
on = 2
grid = "canonical"

[gates]
at_least = 6
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.problems.grids import toml_lines
from pytest_kgate.problems.grids.located import Fault
from pytest_kgate.problems.grids.located import Located
from pytest_kgate.problems.grids.named import NAMED
from pytest_kgate.problems.grids.named import chosen_grid
from pytest_kgate.report.together.policy.rules import RESOURCES
from pytest_kgate.report.together.policy.rules import Rule
from pytest_kgate.system import json_file


@dataclass(frozen=True)
class _Key:
    """One name that a rule may have."""

    fits: Callable[[Any], bool]
    what: str
    """Of its values, for messages."""
    default: Any = None
    """None: it has none, and the rule goes without."""
    needed: bool = False


_LARGEST = 1e30
"""Of all numbers: no bound is as large, an infinite one demands nothing, and a longer one is no float."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


_ON = _Key(lambda value: value == "all" or (_is_count(value) and value > 0), 'a number of problems, or "all"', "all")
_CANDIDATE = _Key(_is_text, 'a name, with * for any letters: "latency*"', "*")
_GRID = _Key(_is_text, f"{', '.join(NAMED)}, or a file of shapes")
_BOUND = _Key(_is_number, "a number")
_SWITCH = "true or false"

_RULES: Mapping[str, Mapping[str, _Key]] = MappingProxyType(
    {
        "speedup": {
            "ratio": _Key(lambda value: _is_number(value) and value > 0, "a number above 0, such as 0.9", needed=True),
            "quantile": _Key(lambda value: _is_number(value) and 0 < value < 1, "between 0 and 1, such as 0.9", 0.5),
            "on": _ON,
            "grid": _GRID,
            "candidate": _CANDIDATE,
        },
        "counter": {
            "name": _Key(_is_text, "a short name of `kgate metrics`", needed=True),
            "of": _Key(_is_text, "the short name of another counter, of which the first is a share"),
            "at_least": _BOUND,
            "at_most": _BOUND,
            "on": _ON,
            "grid": _GRID,
            "candidate": _CANDIDATE,
        },
        "resources": {**{name: _Key(_is_count, "a count") for name in RESOURCES}, "candidate": _CANDIDATE},
        "gates": {
            "at_least": _Key(_is_count, "a count", 1),
            "passing": _Key(lambda value: isinstance(value, bool), _SWITCH, True),
        },
        "checks": {
            "weak": _Key(lambda value: isinstance(value, bool), _SWITCH, False),
            "sanitizer": _Key(lambda value: isinstance(value, bool), _SWITCH, False),
            "candidate": _CANDIDATE,
        },
        "expected": {
            "test": _Key(_is_text, 'a test\'s name, with * for any letters: "tests/test_mine.py::*"', needed=True),
            "at_least": _Key(_is_count, "a count", 1),
            "bound": _Key(lambda value: _is_number(value) and value > 0, "a number above 0, such as 0.95"),
            "quantile": _Key(lambda value: _is_number(value) and 0 < value < 1, "between 0 and 1, such as 0.9", 0.5),
            "atol": _Key(lambda value: _is_number(value) and value >= 0, "a tolerance, such as 2e-3"),
        },
        "age": {"days": _Key(lambda value: _is_number(value) and value > 0, "a number of days", needed=True)},
    }
)
"""What each rule may say."""

_ONE_OF = {"counter": ("at_least", "at_most"), "resources": RESOURCES}
"""Of which a rule needs one at least, since it demands nothing else."""


def read(path: Path) -> list[Rule]:
    """The rules of a file, in its order; raises `UsageError`, which names the line and the key."""
    todo = "Name a policy in TOML; docs/ci.md has one."
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"{path} can't be read: {why}.", todo) from None
    if (other := json_file.other_kind(path, content, "", what="policy", todo=todo)) is not None:
        raise other
    return parse(text, str(path))


def parse(content: str, path: str) -> list[Rule]:
    """The rules of a file's text, in its order; raises `UsageError`, which names `path`, the line and the key."""
    try:
        rules = list(_rules(toml_lines.read(content)))
    except Fault as fault:
        raise UsageError(f"{path}, line {fault.line}: {fault.what}", fault.todo) from None
    if not rules:
        raise UsageError(f"{path} demands nothing.", f"Rules are {', '.join(_RULES)}; docs/ci.md has an example.")
    return sorted(rules, key=lambda rule: rule.line)


def _rules(document: Located) -> Iterator[Rule]:
    for kind, found in document.value.items():
        if kind not in _RULES:
            raise Fault(
                found.line, f"{kind!r} is no rule.{hint(kind, _RULES)}", f"Rules are {', '.join(_RULES)}, each a table."
            )
        tables = found.value if isinstance(found.value, list) else [found]
        for table in tables:
            if not isinstance(table.value, dict):
                raise Fault(table.line, f"{kind} is no table.", f"Write `[{kind}]`, and what it demands below it.")
            yield _rule(kind, table)


def _rule(kind: str, table: Located) -> Rule:
    keys = _RULES[kind]
    for name, found in table.value.items():
        if name not in keys:
            raise Fault(
                found.line, f"{kind} has no key {name!r}.{hint(name, keys)}", f"Its keys are {', '.join(keys)}."
            )
        if isinstance(found.value, list | dict) or not keys[name].fits(found.value):
            raise Fault(found.line, f"{name} of {kind} can't be that.", f"It takes {keys[name].what}.")
    for name, key in keys.items():
        if key.needed and name not in table.value:
            raise Fault(table.line, f"{kind} lacks {name!r}.", f"It takes {key.what}.")
    one_of = _ONE_OF.get(kind, ())
    if one_of and not any(name in table.value for name in one_of):
        raise Fault(table.line, f"{kind} demands nothing.", f"Give one of {', '.join(one_of)}.")
    values = {name: key.default for name, key in keys.items() if key.default is not None}
    values |= {name: found.value for name, found in table.value.items()}
    if kind == "checks" and values["weak"] and not values["sanitizer"]:
        raise Fault(table.line, "checks demands nothing.", "Leave weak = true away, or write sanitizer = true.")
    if kind == "counter" and values.get("of") == values["name"]:
        raise Fault(table.line, f"{values['of']} is all of itself.", "Name in `of` what the counter is a share of.")
    least, most = values.get("at_least"), values.get("at_most")
    if least is not None and most is not None and least > most:
        raise Fault(table.line, f"no counter is at least {least:g} and at most {most:g}.", "Turn the bounds round.")
    chosen = values.get("grid")
    if chosen is None:
        return Rule(kind, table.line, values)
    shapes = chosen_grid(chosen if chosen in NAMED else _grid_file(table, chosen), "grid")
    return Rule(kind, table.line, values, frozenset(map(str, shapes)))


def _grid_file(table: Located, chosen: str) -> Path:
    if not Path(chosen).suffix:
        line = table.value["grid"].line
        raise Fault(line, f"{chosen!r} is no grid.{hint(chosen, NAMED)}", f"It takes {_GRID.what}.")
    return Path(chosen)
