"""The file of `kgate integrity`, with what became of each cheat on one or several devices, and the table made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_kgate.report.page import markdown
from pytest_kgate.report.record.values import now
from pytest_kgate.system import json_file
from pytest_kgate.validation.cheats.attempt import Attempt
from pytest_kgate.validation.cheats.catalogue import CATALOGUE
from pytest_kgate.validation.cheats.catalogue import HONEST
from pytest_kgate.validation.cheats.catalogue import Cheat
from pytest_kgate.validation.cheats.outside import OUTSIDE

SCHEMA = "pytest-kgate/integrity"
VERSION = 2

_TODO = "`kgate integrity --json FILE` writes one."


def document(
    attempts: Iterable[Attempt], device: str, setting: dict[str, Any], before: dict[str, Any] | None
) -> dict[str, Any]:
    """The content of the file; attempts in `before` on other cheats, or on other kinds of device, are kept."""
    new = {(one.device, one.cheat): one.to_dict() for one in attempts}
    kept = {(one["device"], one["cheat"]): one for one in (before or {}).get("attempts", ())}
    settings = {**(before or {}).get("settings", {}), device: setting}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": now(),
        "settings": settings,
        "attempts": list((kept | new).values()),
    }


def load(path: Path) -> dict[str, Any]:
    """The file's content; raises `UsageError` where it is none."""
    return json_file.load(path, SCHEMA, VERSION, what="run of the catalogue of cheats", todo=_TODO)


def save(content: dict[str, Any], path: Path) -> None:
    """Write the file, indented, so that people can read it; raises `UsageError` where it can't be."""
    json_file.save(path, json.dumps(content, indent=1) + "\n")


def surprises(content: dict[str, Any], device: str) -> list[str]:
    """Cheats that were not caught though they should be, honest candidates that were, and sessions that broke."""
    expected = {cheat.name: cheat for cheat in (HONEST, *CATALOGUE, *OUTSIDE)}
    found = []
    for one in content["attempts"]:
        name, cheat, reason = one["cheat"], expected.get(one["cheat"]), one["reason"]
        if cheat is None or one["device"] != device or one["verdict"] in ("FAIL", "INCONCLUSIVE"):
            continue  # too slow, or too noisy a machine: nobody was accused, and nobody passed
        stopped = cheat is not HONEST and cheat.isolated if _isolated(device) else cheat.caught
        # WEAK: a comparison that was patched lets zeros pass as well.
        if one.get("unchecked") not in (None, "PASS", "INCONCLUSIVE", "INVALID", "WEAK"):
            found.append(f"{name} on {device} would not have passed without the checks: {one['unchecked']}")
        if one["verdict"] is None and one["status"] > 0:
            found.append(f"{name} on {device} ended without a verdict: {reason}")
        elif one["caught"] != stopped:
            found.append(f"{name} on {device} was {'' if one['caught'] else 'not '}caught: {reason}")
    return found


def table(content: dict[str, Any]) -> str:
    """The matrix in Markdown: one line a cheat, one column a device."""
    devices = sorted(content["settings"])
    attempts = {(one["device"], one["cheat"]): one for one in content["attempts"]}
    titles = (_title(device, content["settings"][device]) for device in devices)
    head = ["the candidate", "what stops it", "without it", *titles]
    rows = []
    for cheat in (*CATALOGUE, *OUTSIDE, HONEST):
        cells = [_cell(cheat, device, attempts.get((device, cheat.name))) for device in devices]
        if any((device, cheat.name) in attempts for device in devices):
            unchecked = _unchecked(attempts.get((device, cheat.name)) for device in devices)
            link = f"[{cheat.does}](../pytest_kgate/validation/cheats/candidates/{cheat.file})"
            rows.append([link, cheat.stopped_by, unchecked, *cells])
    conditions = dict.fromkeys(f"{_conditions(content['settings'][device])}  " for device in devices)
    table = markdown.grid(head, (), rows, cells_are_markdown=True)
    return "\n".join([table, *conditions]).rstrip() + "\n"


def _cell(cheat: Cheat, device: str, attempt: dict[str, Any] | None) -> str:
    if attempt is None:
        left_out = device.partition(" ")[0] not in cheat.devices or (cheat.unchecked == "own" and not _isolated(device))
        return "" if left_out else "not run"
    if attempt["verdict"] == "INCONCLUSIVE":
        return "undecided: too noisy"
    if not attempt["caught"]:
        return "passes" if cheat is HONEST else "**not caught**"
    checks = f" ({', '.join(attempt['checks'])})" if attempt["checks"] else ""
    return f"caught: {attempt['verdict'] or 'no record'}{checks}"


def _unchecked(attempts: Iterable[dict[str, Any] | None]) -> str:
    """The verdicts without the checks; empty for what was not run without them."""
    verdicts = dict.fromkeys(one["unchecked"] for one in attempts if one and one.get("unchecked"))
    return " or ".join(verdicts)


def _title(device: str, setting: dict[str, Any]) -> str:
    return f"on {setting.get('name') or device}" + (", isolated" if _isolated(device) else "")


def _isolated(device: str) -> bool:
    return device.endswith(" isolated")


def _conditions(setting: dict[str, Any]) -> str:
    facts = (setting.get("name"), setting.get("driver"), setting.get("torch"), setting.get("day"))
    return ", ".join(str(fact) for fact in facts if fact)
