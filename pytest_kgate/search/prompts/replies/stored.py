"""The replies of a search, stored by hash in a folder beside its journal, in the order in which they came."""

from __future__ import annotations

import json
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.search.prompts.replies.reply import Reply
from pytest_kgate.search.prompts.replies.reply import digest
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.system import json_file

SOURCE = "source"
"""The knob of candidates that differ in their source: its value is a reply's id."""

_INDEX = "replies.json"


def folder_of(journal: Path) -> Path:
    """Where the replies of the search with this journal are: `search.replies` beside `search.jsonl`."""
    return journal.with_name(f"{journal.stem}.replies")


def configuration_of(reply: Reply) -> Configuration:
    """The candidate that a reply is, for the search."""
    return Configuration.of({SOURCE: reply.id})


def id_of(configuration: Configuration) -> str | None:
    """The id of a candidate's reply; None where its source is the test's own."""
    found = configuration.as_dict().get(SOURCE)
    return found if isinstance(found, str) else None


@dataclass
class Replies:
    """All replies so far. Each is a file with the answer as it came, and one with the source if there is any."""

    folder: Path

    def __post_init__(self) -> None:
        index = self.folder / _INDEX
        try:
            listed: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8")) if index.exists() else []
            self._all = [self._read(facts) for facts in listed]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{index} can't be read: {error}.", "Remove it, or name another journal.") from error

    def __iter__(self) -> Any:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def get(self, id: str | None) -> Reply | None:
        """The reply with this id; None where there is none."""
        return next((one for one in self._all if one.id == id), None)

    def path(self, reply: Reply) -> Path:
        """The path of a reply's source."""
        return self.folder / f"{reply.id}{reply.suffix}"

    def add(self, reply: Reply, answer: str) -> Reply:
        """Store one more; returns it, refused where its source came before.

        Each reply of a search has an id of its own, that one of which there is no source to judge as well.
        """
        before = self.get(reply.id)
        if before is not None:
            refused = reply.refused or f"The reply's source is that of an earlier one, {reply.id}."
            reply = replace(reply, id=digest(f"{len(self)} {answer}"), source="", refused=refused)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{reply.id}.txt").write_text(answer, encoding="utf-8", errors="replace")
        if reply.source:
            self.path(reply).write_text(reply.source, encoding="utf-8", errors="replace")
        self._all.append(reply)
        kept = [{name: value for name, value in asdict(one).items() if name != "source"} for one in self._all]
        json_file.replace(self.folder / _INDEX, json.dumps(kept, indent=1))
        return reply

    def _read(self, facts: dict[str, Any]) -> Reply:
        texts = {name: tuple(facts[name]) for name in ("flags", "parents")}
        reply = Reply(source="", **{**facts, **texts})
        path = self.path(reply)
        source = "" if reply.refused else path.read_text(encoding="utf-8", errors="replace")
        return replace(reply, source=source)
