"""The file of a run of `kgate oracle` over the grid of problems, and the table made of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_kgate.report.page import markdown
from pytest_kgate.report.record.values import now
from pytest_kgate.system import json_file
from pytest_kgate.validation.oracle.extents import VALUES
from pytest_kgate.validation.oracle.extents import away_from_plain
from pytest_kgate.validation.oracle.grid import GridCell

SCHEMA = "pytest-kgate/oracle"
VERSION = 1

_HEAD = ("answers of honest kernels", "accused", "nearest to a limit", "mutants that died", "lived")

_TODO = "`kgate oracle --json FILE` writes one."


def document(
    outcomes: Sequence[GridCell],
    kernels: Sequence[str],
    missing: Mapping[str, str],
    setting: Mapping[str, str],
    extents: str | None = None,
) -> dict[str, Any]:
    """The content of the file: one entry for each dtype, head dimension and length, or for each problem of `extents`,
    which is then `pairs` or `alone`."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": now(),
        "setting": dict(setting),
        "kernels": list(kernels),
        "missing": dict(missing),
        **({} if extents is None else {"extents": extents}),
        "outcomes": [
            {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(one).items()}
            for one in outcomes
        ],
    }


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write the file, one line an outcome; raises `UsageError` where it can't be."""
    lines = ",\n  ".join(json.dumps(one) for one in content["outcomes"])
    rest = json.dumps({name: value for name, value in content.items() if name != "outcomes"}, indent=1)
    json_file.save(path, f'{rest.removesuffix("}").rstrip()},\n "outcomes": [\n  {lines}\n ]\n}}\n')


def load(path: Path) -> dict[str, Any]:
    """The file's content; raises `UsageError` where it is none."""
    return json_file.load(path, SCHEMA, VERSION, what="run over the grid", todo=_TODO)


def misjudged(content: Mapping[str, Any]) -> list[str]:
    """One line for each honest kernel that was accused and each mutant that lived."""
    return [
        *(f"accused: {told}" for one in content["outcomes"] for told in one["accused"]),
        *(f"lived: {told}" for one in content["outcomes"] for told in one["lived"]),
    ]


def table(content: Mapping[str, Any]) -> str:
    """Markdown: one line a length, over all types, head dimensions, sizes and masks; or a line a value of an extent."""
    outcomes = content["outcomes"]
    if content.get("extents") == "alone":
        return _table_of_each(content)
    if all("problem" in one for one in outcomes):
        return _table_of_extents(content)
    head = ("S", *_HEAD)
    rows = []
    for seqlen in sorted({one["seqlen"] for one in outcomes}):
        mine = [one for one in outcomes if one["seqlen"] == seqlen]
        rows.append(_row(f"{seqlen:,}", mine))
    rows.append(_row("**all**", outcomes))
    lines = [markdown.grid(head, head, rows, cells_are_markdown=True), f"Honest: {', '.join(content['kernels'])}.  "]
    return "\n".join(lines + _ending(content)) + "\n"


def _table_of_extents(content: Mapping[str, Any]) -> str:
    """A subsample of many extents: each line has the problems that have this value, so that lines overlap."""
    outcomes = content["outcomes"]
    found = {value: None for one in outcomes for value in one["values"]}
    named = [value for name in VALUES for value in sorted(found) if value.startswith(f"{name} ")]
    groups = {value: [one for one in outcomes if value in one["values"]] for value in named}
    rows = [(name, str(len(mine)), *_row("", mine)[1:]) for name, mine in {**groups, "**all**": outcomes}.items()]
    head = ("extent", "problems", *_HEAD)
    refusals = Counter(told.partition(":")[0] for one in outcomes for told in one["refused"])
    every = math.prod(map(len, VALUES.values()))
    lines = [
        markdown.grid(head, head, rows, cells_are_markdown=True),
        f"A subsample: {len(outcomes)} of {every:,} problems, in which every two values of two extents meet.  ",
        f"Problems that were not taken: {', '.join(f'{count} by {name}' for name, count in refusals.items())}.  ",
        f"Honest: PyTorch's ways to compute each, {', '.join(content['kernels']) or 'no shipped kernel'}.  ",
    ]
    return "\n".join(lines + _ending(content)) + "\n"


def _table_of_each(content: Mapping[str, Any]) -> str:
    """A line a problem: what is not plain in it, and which shipped kernels took it."""
    rows = []
    for one in content["outcomes"]:
        refused = {told.partition(":")[0] for told in one["refused"]}
        taken = [name for name in content["kernels"] if name not in refused]
        away = ", ".join(away_from_plain(one["values"])) or "plain attention"
        rows.append((away, ", ".join(taken) or "none", *_row("", [one])[1:]))
    rows.append(("**all**", "", *_row("", content["outcomes"])[1:]))
    head = ("extent", "shipped kernels that took it", *_HEAD)
    lines = [
        markdown.grid(head, _HEAD, rows, cells_are_markdown=True),
        "Honest: PyTorch's ways to compute each, and the kernels that took it; the others refused it in a sentence.  ",
    ]
    return "\n".join(lines + _ending(content)) + "\n"


def _ending(content: Mapping[str, Any]) -> list[str]:
    """Who did not run, where it was, and how long it took."""
    seconds = sum(one["seconds"] for one in content["outcomes"])
    return [
        *(f"Not run: {name} ({why})  " for name, why in content["missing"].items()),
        f"{', '.join(content['setting'].values())}, {seconds:.0f} s",
    ]


def _row(name: str, outcomes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return (
        name,
        f"{sum(one['answers'] for one in outcomes):,}",
        str(sum(len(one["accused"]) for one in outcomes)),
        f"{max(one['nearest'] for one in outcomes):.0%}",
        f"{sum(one['died'] for one in outcomes):,}",
        str(sum(len(one["lived"]) for one in outcomes)),
    )
