"""What changed between two candidates that are sources, for people: lines, and what its author said."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pytest_kgate.report.format import counted

if TYPE_CHECKING:
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.prompts.replies.stored import Replies

_LONGEST = 80


class SourceChanges:
    """Describes changes between sources of these replies; of others nothing."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    def __call__(self, before: Trial, after: Trial) -> str:
        """`3 lines more, 1 less, "it keeps a row in registers"`; empty where a source is not stored."""
        old, new = self._replies.get(before.source), self._replies.get(after.source)
        if old is None or new is None:
            return ""
        lines = list(difflib.ndiff(old.source.splitlines(), new.source.splitlines()))
        more, less = (sum(line.startswith(sign) for line in lines) for sign in ("+ ", "- "))
        said = new.rationale if len(new.rationale) <= _LONGEST else f"{new.rationale[: _LONGEST - 3]}..."
        told = f"{counted(more, 'line')} more, {less} less"
        return f'{told}, "{said}"' if said else told
