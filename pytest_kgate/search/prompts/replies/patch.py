"""Unified patches as programs and models write them: the context counts, line numbers are a hint. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_BARE_HUNK = re.compile(r"^@@")


class PatchRefused(ValueError):
    """Why a patch does not fit its parent, as one clause."""


@dataclass(frozen=True)
class _Hunk:
    line: int
    """Where it says that it begins, from 0."""
    before: tuple[str, ...]
    after: tuple[str, ...]


def apply_patch(parent: str, patch: str) -> str:
    """The parent's text with the patch applied.

    Raises `PatchRefused` where there is no hunk, or one whose lines are nowhere in the parent, or at several places of
    which it says none.
    """
    lines, moved = parent.splitlines(), 0
    hunks = _hunks(patch)
    if not hunks:
        raise PatchRefused("it has no hunk that begins with @@")
    for number, hunk in enumerate(hunks, start=1):
        place = _place(lines, hunk, hunk.line + moved, number)
        lines[place : place + len(hunk.before)] = hunk.after
        moved += len(hunk.after) - len(hunk.before)
    return "\n".join(lines) + "\n"


def _hunks(patch: str) -> list[_Hunk]:
    found: list[_Hunk] = []
    line, before, after = 0, list[str](), list[str]()
    inside = False

    def end() -> None:
        if inside and (before or after):
            found.append(_Hunk(line, tuple(before), tuple(after)))

    for text in patch.splitlines():
        if _BARE_HUNK.match(text):
            end()
            said = _HUNK.match(text)
            line, before, after, inside = max(int(said[1]) - 1, 0) if said else 0, [], [], True
        elif not inside or text.startswith("\\"):  # the file's names; `\ No newline at end of file`
            continue
        elif text.startswith("-"):
            before.append(text[1:])
        elif text.startswith("+"):
            after.append(text[1:])
        else:  # editors and models drop the blank of an empty line of context
            before.append(text[1:])
            after.append(text[1:])
    end()
    return found


def _place(lines: Sequence[str], hunk: _Hunk, said: int, number: int) -> int:
    size = len(hunk.before)
    if not size:
        return min(said, len(lines))
    wanted = [one.rstrip() for one in hunk.before]
    fits = [at for at in range(len(lines) - size + 1) if [one.rstrip() for one in lines[at : at + size]] == wanted]
    if said in fits:
        return said
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise PatchRefused(f"the lines of hunk {number} are not in the parent, the first of them {wanted[0].strip()!r}")
    raise PatchRefused(f"the lines of hunk {number} are at {len(fits)} places of the parent, and it names none of them")
