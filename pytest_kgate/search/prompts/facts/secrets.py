"""Takes out of a text what must not go to a provider: secrets of the environment, seeds, folders of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_NAMES = re.compile(r"key|token|secret|passw|credential|auth(?!or)|cookie|private|dsn|webhook", re.IGNORECASE)
"""Environment variables that hold secrets, by parts of their names."""

_LEAST, _LEAST_PART = 6, 12
"""Characters of a value, and of a word of it: shorter ones stand in any text."""

_FOLDERS = re.compile(r"(?<![\w/.<])~?/(?:[\w.+@-]+/)+(?=[\w.+@-])")

REMOVED = "[removed]"


def without_secrets(text: str, seeds: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """The text without values of secret environment variables, without these seeds, and with files by name only."""
    environment = os.environ if environment is None else environment
    secret = {value for name, value in environment.items() if _NAMES.search(name)}
    secret |= {part for value in secret for part in value.split() if len(part) >= _LEAST_PART}
    for value in sorted({*secret, *seeds}, key=len, reverse=True):
        if len(value) >= _LEAST:
            text = text.replace(value, REMOVED)
    return _FOLDERS.sub("", text)


def seeds_of(records: Iterable[Record]) -> set[str]:
    """All seeds that records hold, as they would stand in a text."""
    found: set[str] = set()
    for record in records:
        facts = record.get("seeds") or {}
        found |= {str(value) for name, value in facts.items() if name != "book"}
        isolation: Mapping[str, Any] = record.get("isolation") or {}
        found |= {str(lot) for lot in isolation.get("lots", ())}
    return found
