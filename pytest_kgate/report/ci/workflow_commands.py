"""Gates that do not pass as GitHub workflow commands, which a step prints: shown on the test's line of the change."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.ci.headline import figures
from pytest_kgate.report.ci.untrusted import command_message
from pytest_kgate.report.ci.untrusted import command_property
from pytest_kgate.report.ci.untrusted import short
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import split_test

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

MOST = 10
"""Annotations of one kind that GitHub keeps of a step."""

_REASON = 500
"""Characters of a reason."""


def commands(
    records: Sequence[Record],
    environment: Mapping[str, str] = os.environ,
    failed: Sequence[tuple[str, str]] = (),
) -> str:
    """A line for each record that does not pass, the worst first; the last of ten counts those that are left out.

    Before them stands what `failed` beside the records: a file that could not be collected, or a test, and why. Files
    are named from the repository's top (`GITHUB_WORKSPACE`), node ids from where this runs.
    """
    missed = [record for record in records if not VERDICTS[record["verdict"]].passes]
    missed.sort(key=lambda record: VERDICTS[record["verdict"]].rank)
    top = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).absolute()
    every = [*(partial(_failure, name, why) for name, why in failed), *(partial(_annotation, one) for one in missed)]
    shown = every if len(every) <= MOST else every[: MOST - 1]
    lines = [annotation(top) for annotation in shown]
    if len(shown) < len(every):
        more = text.counted(len(every) - len(shown), "more test")
        lines.append(f"::error title=kgate::{more} that do not pass; the step's summary has all")
    return "".join(f"{line}\n" for line in lines)


def _failure(name: str, why: str, top: Path) -> str:
    file = f"file={command_property(_from_top(name, top))}," if Path(name).is_file() else ""
    return f"::error {file}title={command_property(f'kgate: {short(name)}')}::{command_message(short(why, _REASON))}"


def _annotation(record: Record, top: Path) -> str:
    row = VERDICTS[record["verdict"]]
    command = "warning" if row.by_option else "error"  # whether these fail a test is for its options to say
    path, function, _ = split_test(record["test"])
    properties = {"title": f"kgate {record['verdict']}: {short(record['test'].partition('::')[2] or record['test'])}"}
    if path:
        properties = {"file": _from_top(path, top), **_line(Path(path), function), **properties}
    told = f"{record['candidate']['name']} on {record['problem']['name']}"
    message = "\n".join(part for part in (short(told), figures(record), short(record["reason"], _REASON)) if part)
    shown = ",".join(f"{name}={command_property(value)}" for name, value in properties.items())
    return f"::{command} {shown}::{command_message(message)}"


def _from_top(path: str, top: Path) -> str:
    whole = Path(path).absolute()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else path


def _line(path: Path, function: str) -> dict[str, str]:
    """Where the test is defined, if its file is here and can be read."""
    try:
        scope: list[ast.stmt] = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    line = 0
    for name in function.split("::"):
        found = next((one for one in scope if isinstance(one, _DEFINITIONS) and one.name == name), None)
        if found is None:
            break
        scope, line = found.body, found.lineno
    return {"line": str(line)} if line else {}


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
