"""YAML with the line of every value, by PyYAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.errors import LibraryMissing
from pytest_kgate.problems.grids.located import Fault
from pytest_kgate.problems.grids.located import Located
from pytest_kgate.problems.grids.located import no_syntax
from pytest_kgate.problems.trees.foreign import said_by

if TYPE_CHECKING:
    from yaml import Node
    from yaml import SafeLoader

_DEEPEST = 8
"""Levels, beyond which a value is one that holds itself: YAML's aliases can do that."""


def read(text: str) -> Located:
    """The document; raises `Fault` where it is no YAML, and `LibraryMissing` without PyYAML."""
    try:
        import yaml
    except ImportError:
        raise LibraryMissing(
            "PyYAML is not installed.",
            "Install it (pip install pyyaml), or write the grid in TOML.",
        ) from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return Located({}, 1) if root is None else _located(root, loader, _DEEPEST)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise no_syntax("YAML", str(error.problem or error.context), text, line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise no_syntax("YAML", f"{error.reason} (character {error.character})", text, line) from None


def _located(node: Node, loader: SafeLoader, depth: int) -> Located:
    from yaml import MappingNode
    from yaml import ScalarNode
    from yaml import SequenceNode

    line = node.start_mark.line + 1
    if depth == 0:
        raise Fault(line, "values are nested too deep.", "A field takes a value, or a list of values.")
    if isinstance(node, SequenceNode):
        return Located([_located(one, loader, depth - 1) for one in node.value], line)
    if not isinstance(node, MappingNode):
        try:
            return Located(loader.construct_object(node), line)
        except ValueError as error:  # a day that no calendar has
            raise Fault(
                line, f"{node.value} is no value: {said_by(error)}.", "Write it in quotes, or another."
            ) from None
    table: dict[str, Located] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise Fault(at, "a field's name must be a word.", "Write it as `name: value`.")
        if key.value in table:
            raise Fault(at, f"{key.value} is given twice.", "Keep one of the two.")
        table[key.value] = Located(_located(value, loader, depth - 1).value, at)
    return Located(table, line)
