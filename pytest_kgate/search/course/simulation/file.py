"""The file of simulated searches, the tables made of it, and what of it is beyond its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_kgate.report.page import markdown
from pytest_kgate.search.course.simulation.claims import DESIGNS
from pytest_kgate.search.course.simulation.findings import BUILDS
from pytest_kgate.search.course.simulation.findings import EVALUATIONS
from pytest_kgate.search.course.simulation.findings import WAYS
from pytest_kgate.statistics.intervals.binomial import at_least
from pytest_kgate.statistics.intervals.binomial import at_most
from pytest_kgate.system import json_file

SCHEMA = "pytest-kgate/search-simulation"
VERSION = 1

ROUND_SECONDS = 7.65e-3
"""Of the device, a round: the mean of 22 recorded races on GPUs."""

LEAST_NEAR = 0.9
"""Share of searches by evolve that must end near the best."""

_DOUBT = 0.01
"""A rate is above its limit where so many claims have at most this chance at the limit."""


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write the document, one line a row; UsageError where it can't be."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            parts.append(f'"{name}": [\n  {rows}]')
        else:
            parts.append(f'"{name}": {json.dumps(value)}')
    json_file.save(path, "{" + ",\n ".join(parts) + "}\n")


def load(path: Path) -> dict[str, Any]:
    """The document that `save` wrote; UsageError for anything else."""
    todo = "`kgate simulate-search --json PATH` writes one."
    return json_file.load(path, SCHEMA, VERSION, what="simulation of searches", todo=todo)


def renewed(document: Mapping[str, Any], counted: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the rows that were counted anew, or besides, in place of its own."""
    rows = {}
    for table in TABLES:
        order = list(DESIGNS if table == "claims" else WAYS)
        found = {(row.get("space", ""), row["name"]): row for row in [*document[table], *counted[table]]}
        rows[table] = [found[key] for key in sorted(found, key=lambda key: (key[0], order.index(key[1])))]
    return {**document, **rows, "seconds": document["seconds"] + counted["seconds"]}


def beyond_limit(document: Mapping[str, Any]) -> list[str]:
    """A sentence for each way that claims more often than its limit and luck explain, or that finds too little."""
    found = []
    for row in document["claims"]:
        count, searches, limit = row["claimed"], row["searches"], row["limit"]
        if limit is not None and at_least(count, searches, limit) < _DOUBT:
            found.append(f"{row['name']}: {count} of {searches} searches claimed what is not so, and {limit:.1%} may.")
    for row in document["near"]:
        count, searches = row["near"], row["searches"]
        if row["name"] == "evolve" and at_most(count, searches, LEAST_NEAR) < _DOUBT:
            found.append(f"evolve: {count} of {searches} searches ended near the best, and {LEAST_NEAR:.0%} should.")
    return found


def claims_table(document: Mapping[str, Any]) -> str:
    """How often each design claims a winner among equal candidates."""
    head = ("128 equal candidates", "false claims", "limit", "rounds", "seconds of the device")
    rows = []
    for row in document["claims"]:
        limit = "none" if row["limit"] is None else f"{100 * row['limit']:g} %"
        rounds = row["rounds"] / row["searches"]
        share = _share(row["claimed"], row["searches"])
        rows.append((row["title"], share, limit, f"{rounds:.0f}", f"{rounds * ROUND_SECONDS:.1f}"))
    searches = sorted({row["searches"] for row in document["claims"]})
    counted = " or ".join(map(str, searches))
    return markdown.grid(head, head[1:], rows) + f"\n{counted} searches a row. {_made(document)}\n"


def near_table(document: Mapping[str, Any]) -> str:
    """How often each strategy ends near the best of the made-up space."""
    head = (f"{BUILDS} builds of 128", "within 1 % of the best")
    rows = [(row["title"], _share(row["near"], row["searches"])) for row in document["near"]]
    searches = max(row["searches"] for row in document["near"])
    return markdown.grid(head, head[1:], rows) + f"\n{searches} spaces, a search in each. {_made(document)}\n"


def recorded_table(document: Mapping[str, Any]) -> str:
    """What each strategy finds on spaces of real kernels."""
    head = ("recorded space", "strategy", *(f"after {count}" for count in EVALUATIONS))
    rows, before = [], ""
    for row in document["recorded"]:
        space = f"{row['space']}: {row['size']} candidates"
        cells = [_middle([found[place] for found in row["performance"]]) for place in range(len(EVALUATIONS))]
        rows.append((space if space != before else "", row["title"], *cells))
        before = space
    searches = max(len(row["performance"]) for row in document["recorded"])
    what = f"Latency of the best of all over that of the best found: median, and 10 % quantile, of {searches} searches."
    return markdown.grid(head, head[2:], rows) + f"\n{what} {_made(document)}\n"


TABLES = {"claims": claims_table, "near": near_table, "recorded": recorded_table}


def _middle(values: list[float]) -> str:
    return f"{np.median(values):.3f} ({np.quantile(values, 0.1):.3f})"


def _share(count: int, of: int) -> str:
    share = 100 * count / of
    return f"{share:.1f} %" if share < 99.95 and count else f"{share:.0f} %"


def _made(document: Mapping[str, Any]) -> str:
    return f"Seeds from {document['seed']}, pytest-kgate {document['kgate']}, {document['created'][:10]}."
