"""pytest's own report (`--junitxml`): what went wrong in a session beside its gates, of which no record tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pytest_kgate.errors import KgateError
from pytest_kgate.problems.trees.foreign import said_by
from pytest_kgate.report.ci.junit.write import case_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_COLLECTION = "collection failure"
"""pytest's message where a file could not be imported, of which the suite's name is all that there is."""

_RAISED = re.compile(r"^E {1,3}(?! )(?P<said>.+)$", re.MULTILINE)
_AT_FAULT = re.compile(r'^E +File "(?P<path>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
"""Of a SyntaxError, which is often in a file that the test imports."""


def failures(path: Path, records: Iterable[Record]) -> list[tuple[str, str]]:
    """Each file that could not be collected and each test that failed, but for those with a record: name, and why.

    Both are the pull request's words. Raises `KgateError` where the file is no such report.
    """
    known = {case_of(record) for record in records}
    found = []
    for case in _suites(path).iter("testcase"):
        fault = next((one for one in case if one.tag in ("error", "failure")), None)
        where = case.get("classname", ""), case.get("name", "")
        if fault is None or where in known:
            continue
        text, message = fault.text or "", fault.get("message") or "the log says why"
        if message == _COLLECTION:
            found.append((f"{where[1].replace('.', '/')}.py", f"could not be collected: {_cause(text)}"))
        else:
            found.append((".".join(part for part in where if part), f"failed: {message.splitlines()[0]}"))
    return found


def _suites(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # pytest writes none, and one can grow without end
            raise ElementTree.ParseError("it declares entities")
        return ElementTree.fromstring(content)
    except (OSError, ElementTree.ParseError) as error:
        raise KgateError(
            f"{path} is no JUnit report: {said_by(error)}.", "Name what `pytest --junitxml` has written."
        ) from error


def _cause(text: str) -> str:
    """The last line that an exception has said, with the file that it names."""
    said = [one["said"].strip() for one in _RAISED.finditer(text)]
    file = _AT_FAULT.search(text)
    where = f" ({Path(file['path']).name}, line {file['line']})" if file else ""
    return f"{said[-1] if said else 'the log says why'}{where}"
