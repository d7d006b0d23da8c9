"""The file of a run of the catalogue, for one or several devices, and the table made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_kgate.report.record.record import now
from pytest_kgate.system import json_file
from pytest_kgate.validation.cheats.attempt import Bout
from pytest_kgate.validation.cheats.catalogue import CATALOGUE
from pytest_kgate.validation.cheats.catalogue import HONEST
from pytest_kgate.validation.cheats.catalogue import Cheat

SCHEMA = "pytest-kgate/integrity"
VERSION = 1

_TODO = "`kgate integrity --json FILE` writes one."


def document(
    bouts: Iterable[Bout], device: str, setting: dict[str, Any], before: dict[str, Any] | None
) -> dict[str, Any]:
    """The run's file; of `before`, what was found on other kinds of device is kept, and other cheats on this one."""
    new = {(bout.device, bout.cheat): asdict(bout) | {"checks": list(bout.checks)} for bout in bouts}
    kept = {(bout["device"], bout["cheat"]): bout for bout in (before or {}).get("bouts", ())}
    settings = {**(before or {}).get("settings", {}), device: setting}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": now(),
        "settings": settings,
        "bouts": list((kept | new).values()),
    }


def load(path: Path) -> dict[str, Any]:
    """The file's content; raises `UsageError` where it is none."""
    return json_file.load(path, SCHEMA, VERSION, what="run of the catalogue of cheats", todo=_TODO)


def save(content: dict[str, Any], path: Path) -> None:
    """Write the file, as one for people to read too."""
    json_file.replace(path, json.dumps(content, indent=1) + "\n")


def surprises(content: dict[str, Any], device: str) -> list[str]:
    """Cheats that were not caught though they should be, honest candidates that were, and sessions that broke."""
    expected = {cheat.name: cheat for cheat in (HONEST, *CATALOGUE)}
    found = []
    for bout in content["bouts"]:
        cheat = expected.get(bout["cheat"])
        if cheat is None or bout["device"] != device or bout["verdict"] in ("FAIL", "INCONCLUSIVE"):
            continue  # too slow, or too noisy a machine: nobody was accused, and nobody passed
        stopped = cheat is not HONEST and cheat.isolated if _isolated(device) else cheat.caught
        if bout.get("unchecked") not in (None, "PASS", "INCONCLUSIVE", "INVALID"):
            found.append(f"{bout['cheat']} on {device} would not have passed without the checks: {bout['unchecked']}")
        if bout["verdict"] is None and bout["status"] > 0:
            found.append(f"{bout['cheat']} on {device} ended without a verdict: {bout['reason']}")
        elif bout["caught"] != stopped:
            found.append(f"{bout['cheat']} on {device} was {'' if bout['caught'] else 'not '}caught: {bout['reason']}")
    return found


def table(content: dict[str, Any]) -> str:
    """The matrix in Markdown: one line a cheat, one column a device."""
    devices = sorted(content["settings"])
    bouts = {(bout["device"], bout["cheat"]): bout for bout in content["bouts"]}
    titles = (_title(device, content["settings"][device]) for device in devices)
    head = ["the candidate", "what stops it", "without it", *titles]
    lines = [_line(head), _line("---" for _ in head)]
    for cheat in (*CATALOGUE, HONEST):
        cells = [_cell(cheat, device, bouts.get((device, cheat.name))) for device in devices]
        if any(cells):
            unchecked = _unchecked(bouts.get((device, cheat.name)) for device in devices)
            link = f"[{cheat.does}](../pytest_kgate/validation/cheats/candidates/{cheat.file})"
            lines.append(_line([link, cheat.stopped_by, unchecked, *cells]))
    conditions = dict.fromkeys(f"{_conditions(content['settings'][device])}  " for device in devices)
    return "\n".join([*lines, "", *conditions]).rstrip() + "\n"


def _cell(cheat: Cheat, device: str, bout: dict[str, Any] | None) -> str:
    if bout is None:
        return "" if device.partition(" ")[0] not in cheat.devices else "not run"
    if bout["verdict"] == "INCONCLUSIVE":
        return "undecided: too noisy"
    if not bout["caught"]:
        return "passes" if cheat is HONEST else "**not caught**"
    checks = f" ({', '.join(bout['checks'])})" if bout["checks"] else ""
    return f"caught: {bout['verdict'] or 'no record'}{checks}"


def _unchecked(bouts: Iterable[dict[str, Any] | None]) -> str:
    """The verdicts without the checks; empty for what was not run without them."""
    verdicts = dict.fromkeys(bout["unchecked"] for bout in bouts if bout and bout.get("unchecked"))
    return " or ".join(verdicts)


def _title(device: str, setting: dict[str, Any]) -> str:
    return f"on {setting.get('name') or device}" + (", isolated" if _isolated(device) else "")


def _isolated(device: str) -> bool:
    return device.endswith(" isolated")


def _conditions(setting: dict[str, Any]) -> str:
    facts = (setting.get("name"), setting.get("driver"), setting.get("torch"), setting.get("day"))
    return ", ".join(str(fact) for fact in facts if fact)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
