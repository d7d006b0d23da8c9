"""The calibration file: every gate of every process, collected over any number of runs.

JSON, one gate a line: `{"schema", "version", "created", "setting", "processes": [...], "gates": [...], "comparisons":
[...]}`. It is replaced as a whole for every gate (1 MB at a thousand of them, some ms, while the next gate runs), so
a reader, or a killed run, finds either the old file or the new one. Nothing is ever taken out of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.values import now
from pytest_kgate.system import json_file

SCHEMA = "pytest-kgate/calibration"
VERSION = 1

_LISTS = ("processes", "gates", "comparisons")

SETTING = ("kind", "timer", "cache", "budget")
"""The settings that all gates of a file have in common."""


class Calibrations:
    """The content of a calibration file, in memory only where `path` is None."""

    def __init__(self, path: Path | None, setting: dict[str, Any], created: str) -> None:
        self.path = path
        self.setting = setting
        self.created = created
        self._lines: dict[str, list[str]] = {name: [] for name in _LISTS}
        self._items: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS}

    @property
    def processes(self) -> list[dict[str, Any]]:
        """The processes that ran gates, each with its number, seed, start and environment."""
        return self._items["processes"]

    @property
    def gates(self) -> list[dict[str, Any]]:
        """The gates as `trial.describe` makes them, with case, process and seed."""
        return self._items["gates"]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """The decisions of several rules on the same pairs of arms."""
        return self._items["comparisons"]

    @property
    def next_process(self) -> int:
        """A number that no process has had yet: its gates' seeds follow from it, so that no gate repeats another."""
        return 1 + max((int(process["process"]) for process in self.processes), default=-1)

    def add(self, name: str, item: dict[str, Any]) -> None:
        """Append to one of the lists and write the file."""
        self._take(name, item)
        self.save()

    def gather(self, other: Calibrations) -> None:
        """Add the content of another file, whose processes get new numbers.

        Raises `UsageError` where its gates were timed in another way, or from the same seed.
        """
        _check_same(other, self.setting)
        if {gate["seed"] for gate in other.gates} & {gate["seed"] for gate in self.gates}:
            raise UsageError(
                f"{other.path} repeats gates of another part, on the same inputs in the same order.",
                "Give each part a --seed of its own.",
            )
        numbers: dict[int, int] = {}
        for process in other.processes:
            numbers[process["process"]] = self.next_process
            self._take("processes", {**process, "process": self.next_process})
        for name in ("gates", "comparisons"):
            for line in other._items[name]:
                self._take(name, {**line, "process": numbers[line["process"]]})
        self.save()

    def save(self) -> None:
        """Replace the file; raises `KgateError` where that is impossible."""
        if self.path is None:
            return
        head = {"schema": SCHEMA, "version": VERSION, "created": self.created, "setting": self.setting}
        parts = [json.dumps(head)[:-1]]
        for name in _LISTS:
            body = ",\n".join(self._lines[name])
            parts.append(f',\n"{name}": [\n{body}\n]')
        try:
            json_file.replace(self.path, "".join(parts) + "}\n")
        except OSError as error:
            raise KgateError(
                f"{self.path} can't be written: {error.strerror}.",
                "Make room or give --json another path; what is in the file stays.",
            ) from error

    def _take(self, name: str, item: dict[str, Any]) -> None:
        self._items[name].append(item)
        self._lines[name].append(json.dumps(item, allow_nan=False, separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> Calibrations:
        """Read a file; raises `KgateError` where it is none of ours."""
        try:
            text = path.read_bytes()
            other = json_file.other_kind(path, text, SCHEMA, what="calibration", todo="Give --json another path.")
            if other is not None:
                raise other
            content = json.loads(text.decode("ascii"))
        except FileNotFoundError:
            raise UsageError(f"There is no file {path}.", "Write one with `kgate calibrate --json FILE`.") from None
        except (OSError, ValueError, RecursionError) as error:
            raise KgateError(f"{path} can't be read as a calibration: {error}.", "Give --json another path.") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise UsageError(f"{path} holds something else than a calibration.", "Give --json another path.")
        if content.get("version") != VERSION:
            raise UsageError(
                f"{path} is a calibration of version {content.get('version')}; this kgate reads version {VERSION}.",
                "Give --json another path, or use the version of pytest-kgate that wrote it.",
            )
        try:
            found = cls(path, dict(content["setting"]), str(content["created"]))
            for name in _LISTS:
                for item in content[name]:
                    found._take(name, dict(item))
        except (KeyError, TypeError, ValueError) as error:
            raise KgateError(f"{path} is damaged: {error!r}.", "Take it anew from where it was written.") from error
        return found


def open_or_create(path: Path | None, setting: dict[str, Any]) -> Calibrations:
    """Continue the file that is there, or begin it; raises `UsageError` where its gates were timed in another way."""
    if path is None or not path.exists():
        fresh = Calibrations(path, setting, now())
        fresh.save()  # a path that can't be written shows before hours of gates
        return fresh
    found = Calibrations.load(path)
    _check_same(found, setting)
    return found


def gathered(path: Path, parts: Iterable[Path]) -> Calibrations:
    """A new file of what several others hold, from machines or GPUs that worked side by side."""
    if path.exists():
        raise UsageError(f"{path} is there already.", "Give --json a path of its own: the parts are all taken in.")
    files = [Calibrations.load(part) for part in parts]
    whole = Calibrations(path, files[0].setting, files[0].created)
    for file in files:
        whole.gather(file)
    return whole


def _check_same(found: Calibrations, setting: dict[str, Any]) -> None:
    for name in SETTING:
        if found.setting.get(name) != setting[name]:
            raise UsageError(
                f"The gates in {found.path} have {name} {found.setting.get(name)}, not {setting[name]}.",
                "Give --json another path: one file holds gates that compare.",
            )


def counted(lines: Iterable[dict[str, Any]]) -> Counter[str]:
    """The number of lines of each case."""
    return Counter(str(line["case"]) for line in lines)
