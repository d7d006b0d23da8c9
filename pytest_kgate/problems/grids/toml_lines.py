"""TOML with the line of every value that has a name.

Python's own reader tells no lines, so the text is gone through once more for names: what stands before `=`, and in the
headers of tables. They come in the same order as the values, which take their lines one after the other.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections import deque
from typing import Any

from pytest_kgate.problems.grids.located import Located
from pytest_kgate.problems.grids.located import no_syntax

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\#[^\n]*', re.DOTALL
)

_NAME = re.compile(r"^[ \t]*\[\[?(?P<header>[^\n\[\]=,]+)\]\]?[ \t]*$|(?P<name>[\w-]+)[ \t]*=", re.MULTILINE)

_AT_END = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
"""Of what the reader says is wrong: where."""


def read(text: str) -> Located:
    """The document; raises `Fault` where it is no TOML."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers and lists that are too long for Python, too
        said = str(error)
        found = _AT_END.search(said)
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        raise no_syntax("TOML", _AT_END.sub("", said), text, line) from None
    names = _Names(text)
    return Located({name: names.located(name, value) for name, value in content.items()}, 1)


class _Names:
    """The lines where names stand; each is taken once."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, str], deque[int]] = defaultdict(deque)
        """(table of the last header, name) -> lines. The name is empty for the header itself, the table before any."""
        table = ""
        plain = _STRING_OR_COMMENT.sub(_without_marks, text)
        for match in _NAME.finditer(plain):
            line = plain.count("\n", 0, match.start()) + 1
            if match["header"]:
                table = match["header"].partition(".")[0].strip()
            self._lines[table, match["name"] or ""].append(line)

    def located(self, name: str, value: Any) -> Located:
        """A value of the top level."""
        headers = self._lines[name, ""]
        if not headers:
            return self._below("", name, value, 1)
        if isinstance(value, list):  # each with a header of its own
            first = headers[0]
            return Located([self._in_table(name, one, headers.popleft() if headers else first) for one in value], first)
        return self._in_table(name, value, headers[0])

    def _below(self, table: str, name: str, value: Any, line: int) -> Located:
        lines = self._lines[table, name]
        return self._in_table(table, value, lines.popleft() if lines else line)

    def _in_table(self, table: str, value: Any, line: int) -> Located:
        if isinstance(value, dict):
            return Located({name: self._below(table, name, one, line) for name, one in value.items()}, line)
        if isinstance(value, list):
            return Located([self._element(table, one, line) for one in value], line)
        return Located(value, line)

    def _element(self, table: str, value: Any, line: int) -> Located:
        """An element of a list, which begins where its first name stands."""
        found = self._in_table(table, value, line)
        fields = found.value.values() if isinstance(found.value, dict) else ()
        return Located(found.value, min((one.line for one in fields), default=line))


def _without_marks(found: re.Match[str]) -> str:
    """A string that may be a name as it is without quotes; of all else, comments too, what keeps lines countable."""
    text = found[0].strip("\"'")
    return text if re.fullmatch(r"[\w-]+", text) else "\n" * found[0].count("\n")
