"""Names and messages of a candidate, put where CI shows them: as text that can't be taken for anything else.

Whoever opens a pull request chooses the names of its tests and candidates, and what its errors say.
"""

from __future__ import annotations

import html
import re

from pytest_kgate.report.format import visible

_PLAIN = re.compile(r"[\w \[\](){}.,:;/=+*%#!?@&'\"^~$-]+")
"""What a code span of Markdown shows as it is, in a table, too: no backtick, pipe, backslash, tag or line end."""

_LONGEST = 300
"""Characters of a name or message in a line; more tells nobody more."""


def short(value: str, longest: int = _LONGEST) -> str:
    """The text, in one line, with its middle left out where it is too long."""
    value = visible(value)
    if len(value) <= longest:
        return value
    kept = longest - 3
    return f"{value[: kept - kept // 3]}...{value[len(value) - kept // 3 :]}"


def code(value: str) -> str:
    """The text as code, in a line or in a table's cell of GitHub's Markdown; empty for an empty one."""
    value = short(value)
    if not value:
        return ""
    if _PLAIN.fullmatch(value):
        return f"`{value}`"
    return f"<code>{words(value)}</code>"


def words(value: str) -> str:
    """The text as words of a line or of a table's cell: no markup, no link, no one is called by `@name`."""
    text = html.escape(short(value), quote=False)
    text = re.sub(r"[\\`*_{}#!|~@$^]", lambda found: f"&#{ord(found.group())};", text)
    text = text.replace("://", "&#58;//").replace("](", "]&#40;")
    return text.replace("www.", "www&#46;").replace("&#64;", "&#64;<!-- -->")


def block(value: str) -> str:
    """The text of several lines as a block of code, whose fence is longer than any in it."""
    value = visible(value, lines=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", value)), default=0))
    return f"{fence}text\n{value}\n{fence}\n"


def command_message(value: str) -> str:
    """The text as the message of a GitHub workflow command (`::error::MESSAGE`), where `%0A` is a line end."""
    return visible(value, lines=True).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(value: str) -> str:
    """The text as a property of a workflow command: `file=PROPERTY`."""
    return command_message(visible(value)).replace(":", "%3A").replace(",", "%2C")


def cell(value: str) -> str:
    """The text as a cell of CSV: one line, and never a formula for a spreadsheet."""
    value = visible(value)
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
