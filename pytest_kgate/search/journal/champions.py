"""kgate-champions.json: the configurations that searches have confirmed, which plain runs use. Made to be committed.

A champion holds for one test, on one kind of device, for the source as it was: where the source or a header of its has
changed since, the champion was confirmed of another kernel and is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock

from pytest_kgate.build import registry
from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler.arch import of_capability
from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.system import json_file

FILE_NAME = "kgate-champions.json"
"""In pytest's root folder."""

_SCHEMA = "pytest-kgate/champions"
_VERSION = 1

_TODO = "Take the version of your version control, or delete the file and search again."
_LOCK_SECONDS = 60.0

_MOST = 1e15
"""Of a knob's value, and of a ratio."""


@dataclass(frozen=True)
class Champion:
    """One configuration that was confirmed."""

    test: str
    """Node id of a test, or of a function, class or file of tests that it holds for."""
    source: str
    """A shipped implementation's name, or a file's path from the folder of the champions' file on."""
    source_hash: str
    """As `source_hash` gives it."""
    device: str
    """The GPU's architecture, such as `sm_90a`, or the CPU's name."""
    shapes: tuple[str, ...]
    """Shapes, or ids of tests, that it was confirmed on."""
    knobs: Configuration
    ratios: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """By shape or id: latency ratio to the reference when it was confirmed, and both ends of its interval."""
    alpha: float = 0.025
    """One-sided error rate of the gates that confirmed it."""
    processes: int = 1
    """Fresh processes over which they were judged."""
    journal: str = ""
    """The search's, from the same folder on; empty where it was not kept."""

    @property
    def key(self) -> tuple[str, str, str, tuple[str, ...]]:
        """What there is one champion of, whatever the source was like."""
        return self.test, self.source, self.device, tuple(sorted(self.shapes))

    def holds_for(self, test: str, shapes: Collection[str], devices: Collection[str]) -> bool:
        """Whether it was confirmed for this test, one of its shapes (or its id), and one of these devices."""
        inside = test == self.test or test.startswith((f"{self.test}[", f"{self.test}::"))
        return inside and self.device in devices and (not self.shapes or bool({*shapes, test} & {*self.shapes}))


@dataclass(frozen=True)
class Found:
    """What a file of champions has for a test."""

    champion: Champion | None = None
    """None where there is none, or none that may be used."""
    passed_over: str = ""
    """Why one is not used, as a sentence; empty where that did not happen."""


def load_champions(path: Path) -> tuple[Champion, ...]:
    """All champions of a file, none where there is no file. Raises `UsageError` for one that can't be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}.", _TODO) from error
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in text.splitlines()):
        raise UsageError(
            f"{path} has a merge conflict in it.",
            "Resolve it: keep whole entries, of one test, source, device and shapes either one.",
        )
    content = json_file.load(path, _SCHEMA, _VERSION, what="champions", todo=_TODO)
    entries = content.get("champions")
    if not isinstance(entries, list):
        raise UsageError(f"{path} has no list of champions.", _TODO)
    found = tuple(_read(entry, f"{path}, champion {place}") for place, entry in enumerate(entries, 1))
    for place, one in enumerate(found):
        if one.key in {other.key for other in found[:place]}:
            raise UsageError(
                f"{path} has two champions of {one.test} by {one.source} on {one.device}.", "Delete one of them."
            )
    return found


def record_champion(path: Path, champion: Champion) -> None:
    """Put a champion into the file, in the place of the one before it; all others stay as they are.

    Raises `UsageError` where the file can't be used or written.
    """
    lock = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
    # Searches on several GPUs of a machine may end at the same time.
    folder = cache.root()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"champions-{lock}.lock", timeout=_LOCK_SECONDS):
        others = [one for one in load_champions(path) if one.key != champion.key]
        entries = [_written(one) for one in sorted([*others, champion], key=lambda one: one.key)]
        content = {"schema": _SCHEMA, "version": _VERSION, "champions": entries}
        json_file.save(path, json.dumps(content, indent=2) + "\n")


def champion_for(
    champions: Iterable[Champion], test: str, shapes: Collection[str], devices: Collection[str], folder: Path
) -> Found:
    """The champion of a test's node id on one of these devices; of several, that of the narrowest part of the tests.

    `folder` is that of the file, from which sources are named.
    """
    mine = [one for one in champions if one.holds_for(test, shapes, devices)]
    passed_over = ""
    for one in sorted(mine, key=lambda one: (-len(one.test), one.key)):
        now = source_hash(one.source, folder)
        if now == one.source_hash:
            return Found(one)
        what = "is gone" if now is None else "has changed since"
        passed_over = passed_over or (
            f"the champion {one.knobs.title} of {one.test} on {one.device} is not used: {one.source} {what}; "
            "`kgate search` finds another"
        )
    return Found(None, passed_over)


def source_hash(source: str, folder: Path) -> str | None:
    """The hash of an implementation or a file with the headers that it includes; None where there is none.

    Of a kernel's source it is what records have as the hash of their candidate's.
    """
    try:
        if registry.is_source(source) or not Path(source).suffix:
            path = registry.find_source(source if not Path(source).suffix else folder / source).path
            return cache.hash_sources(path, (registry.csrc_directory(),))
        return hashlib.sha256((folder / source).read_bytes()).hexdigest()
    except (OSError, UsageError, ValueError):  # ValueError: of a name that no file can have
        return None


def device_of(environment: Mapping[str, Any]) -> str:
    """What champions of a device are kept by, of the `environment` that it, or a record, gives."""
    if environment["device"] == "cuda":
        major, minor = environment["gpu"]["capability"].split(".")
        return of_capability(int(major), int(minor))
    return str(environment["cpu"]["model"]) if "cpu" in environment else str(environment["device"])


def _written(champion: Champion) -> dict[str, Any]:
    return {
        "test": champion.test,
        "source": champion.source,
        "source_hash": champion.source_hash,
        "device": champion.device,
        "shapes": sorted(champion.shapes),
        "knobs": champion.knobs.as_dict(),
        "ratios": {name: list(champion.ratios[name]) for name in sorted(champion.ratios)},
        "alpha": champion.alpha,
        "processes": champion.processes,
        "journal": champion.journal,
    }


def _read(entry: Any, where: str) -> Champion:
    """Raises `UsageError` that names what is missing or wrong in it."""

    def part(name: str, kind: type | tuple[type, ...]) -> Any:
        if not isinstance(entry, dict) or name not in entry:
            raise UsageError(f"{where} has no {name}.", _TODO)
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool):
            raise UsageError(f"{where} has {entry[name]!r} as its {name}.", _TODO)
        return entry[name]

    knobs, ratios = part("knobs", dict), part("ratios", dict)
    wrong = [name for name, value in knobs.items() if not isinstance(value, str) and not _is_finite(value)]
    wrong += [name for name, three in ratios.items() if not _three_numbers(three)]
    wrong += [str(one) for one in part("shapes", list) if not isinstance(one, str)]
    wrong += ["alpha"] if not _is_finite(part("alpha", (int, float))) or not 0 < entry["alpha"] < 1 else []
    wrong += ["processes"] if part("processes", int) < 1 else []
    if wrong:
        raise UsageError(f"{where} has no value that makes sense for {wrong[0]}.", _TODO)
    return Champion(
        **{name: part(name, str) for name in ("test", "source", "source_hash", "device", "journal")},
        shapes=tuple(entry["shapes"]),
        knobs=Configuration.of(knobs),
        ratios=MappingProxyType({name: (three[0], three[1], three[2]) for name, three in ratios.items()}),
        alpha=part("alpha", (int, float)),
        processes=part("processes", int),
    )


def _three_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_finite(one) and one > 0 for one in value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _MOST  # of NaN and of what is no float, too
