"""What a provider's answer comes to: a source with its flags and rationale, or why there is none. Pure."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from dataclasses import replace

from pytest_kgate.build.compiler.flags import allowed_flags
from pytest_kgate.build.compiler.flags import first_refused
from pytest_kgate.search.prompts.replies.patch import PatchRefused
from pytest_kgate.search.prompts.replies.patch import apply_patch

_FENCE = re.compile(r"^[ \t]*(?P<ticks>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n", re.MULTILINE)
_FLAGS = re.compile(r"^[ \t>*-]*flags:[ \t]*(?P<flags>[^\n]*)$", re.MULTILINE | re.IGNORECASE)
_PATCHES = ("diff", "patch", "udiff")

MOST_RATIONALE = 1000
"""Characters of the rationale that later prompts show."""

DEVICE_OF_SUFFIX = {".cpp": "host", ".cu": "cuda"}
"""Of sources that are compiled here; a Python file sets no flags."""


@dataclass(frozen=True)
class Reply:
    """One answer of a provider."""

    id: str
    """Twelve hexadecimal digits: of the source, or of the answer where that holds none."""
    source: str
    """Whole, with the line that sets its flags; empty where there is none."""
    suffix: str
    """`.cpp`, `.cu` or `.py`."""
    flags: tuple[str, ...] = ()
    rationale: str = ""
    parents: tuple[str, ...] = ()
    """Ids of the sources that its prompt offered to change."""
    refused: str = ""
    """Why there is no source to judge, as a sentence; empty where there is one."""


def read_reply(text: str, suffix: str, parent: str | None, parents: tuple[str, ...] = ()) -> Reply:
    """The reply that this answer holds.

    It is one fenced block (of several the longest): a whole source, or a unified patch against `parent`; a line
    `flags: ...` and the rationale stand outside of it.
    """
    blocks, outside = _parts(text)
    empty = Reply(digest(text), "", suffix, (), _rationale(outside), parents)
    if not text.strip():
        return replace(empty, refused="The reply is empty.")
    if not blocks:
        return replace(empty, refused="The reply holds no fenced block with a source or a patch.")
    language, body = max(blocks, key=lambda block: len(block[1]))
    source = body
    if language in _PATCHES:
        if parent is None:
            return replace(empty, refused="The reply is a patch, and there was no parent to change.")
        try:
            source = apply_patch(parent, body)
        except PatchRefused as clause:
            return replace(empty, refused=f"The reply's patch does not fit the parent: {clause}.")
    flags, refusal = _flags(outside, suffix)
    if refusal:
        return replace(empty, refused=refusal)
    if flags:
        source = f"// flags: {' '.join(flags)}\n{source}"
    return replace(empty, id=digest(source), source=source, flags=flags)


def digest(text: str) -> str:
    """Twelve hexadecimal digits that another text does not have."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _parts(text: str) -> tuple[list[tuple[str, str]], str]:
    """The fenced blocks, each with its language, and the text outside of them; a block that has no end ends there."""
    blocks, outside, at = [], [], 0
    while found := _FENCE.search(text, at):
        outside.append(text[at : found.start()])
        end = re.compile(rf"^[ \t]*{re.escape(found['ticks'])}[ \t]*$", re.MULTILINE).search(text, found.end())
        stop = end.start() if end else len(text)
        blocks.append((found["language"].lower(), text[found.end() : stop]))
        at = end.end() if end else len(text)
    return blocks, "".join([*outside, text[at:]])


def _flags(outside: str, suffix: str) -> tuple[tuple[str, ...], str]:
    found = _FLAGS.search(outside)
    try:
        words = tuple(shlex.split(found["flags"].strip("`* "))) if found else ()
    except ValueError:
        return (), "The reply's flags have a quote without an end."
    if not words or words == ("none",):
        return (), ""
    device = DEVICE_OF_SUFFIX.get(suffix)
    if device is None:
        return (), "The reply sets flags, and a Python file has none."
    refused = first_refused(words, device)
    if refused is not None:
        return (), f"The reply sets the flag {refused}; these can be set: {allowed_flags(device)}."
    return words, ""


def _rationale(outside: str) -> str:
    """The longest paragraph outside of the blocks, in printable characters."""
    paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", _FLAGS.sub("", outside))]
    longest = max(paragraphs, key=len, default="")
    printable = "".join(one if one.isprintable() else "?" for one in longest)
    return printable if len(printable) <= MOST_RATIONALE else f"{printable[: MOST_RATIONALE - 3]}..."
