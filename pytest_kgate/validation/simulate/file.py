"""The file of a simulation's counts, the table made of it, and the error rates that are above their limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kgate.report.page import markdown
from pytest_kgate.system import json_file
from pytest_kgate.validation.simulate.error_rates import SCHEMA
from pytest_kgate.validation.simulate.error_rates import VERSION
from pytest_kgate.validation.simulate.error_rates import ErrorRates
from pytest_kgate.validation.simulate.error_rates import rates_of


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write the document, one line a cell: two of them compare line by line. UsageError where it can't be."""
    scenarios = []
    for scenario in document["scenarios"]:
        cells = ",\n    ".join(json.dumps(one) for one in scenario["cells"])
        facts = json.dumps({name: value for name, value in scenario.items() if name != "cells"})
        scenarios.append(f'{facts[:-1]}, "cells": [\n    {cells}]}}')
    head = json.dumps({name: value for name, value in document.items() if name != "scenarios"})
    text = ",\n  ".join(scenarios)
    json_file.save(path, f'{head[:-1]}, "scenarios": [\n  {text}\n]}}\n')


def load(path: Path, schema: str = SCHEMA) -> dict[str, Any]:
    """The document of this kind that `save` wrote; UsageError for anything else."""
    todo = "`kgate simulate --json PATH` writes one."
    return json_file.load(path, schema, VERSION, what="simulation of gates", todo=todo)


def beyond_limit(document: Mapping[str, Any]) -> list[str]:
    """A sentence for each scenario with more false passes than luck and its limit explain."""
    found = []
    for scenario in document["scenarios"]:
        one, limit = rates_of(scenario)["boundary"], scenario["limit"]
        if limit is not None and one.above(limit):
            found.append(
                f"{scenario['name']}: {one.passed} of {one.gates} gates on the bound passed, and {limit:.1%} may."
            )
    return found


def table(document: Mapping[str, Any]) -> str:
    """The document as Markdown: error rates, power and rounds, and below them how they were made."""
    head = ("noise", "false PASS", "false FAIL", "limit", "equal kernels pass", "1 % win", "2 % win", "5 % win")
    rows = []
    for scenario in document["scenarios"]:
        rates = rates_of(scenario)
        edge, limit = rates["boundary"], scenario["limit"]
        rows.append(
            (
                scenario["title"],
                _share(edge.passed, edge.gates),
                _share(edge.failed, edge.gates),
                "none" if limit is None else f"{limit:.1%}".replace(".0%", "%").replace("%", " %"),
                _share(rates["equal"].passed, rates["equal"].gates),
                *(_power(rates[name]) for name in ("1 %", "2 %", "5 %")),
            )
        )
    first = rates_of(document["scenarios"][0])
    return markdown.grid(head, head[1:], rows) + (
        f"\n`speedup({document['bound']:g})`: {first['boundary'].gates} gates a row whose true ratio is the bound, "
        f"{first['equal'].gates} of each other ratio; a win is the share of gates that passed, and the mean number of "
        f"rounds, of a candidate that much faster than the bound demands. Seed {document['seed']}, "
        f"pytest-kgate {document['kgate']}, {document['created'][:10]}, {_minutes(document['seconds'])}.\n"
    )


def _share(count: int, of: int) -> str:
    """A share in percent with one decimal, so that a column's numbers compare; without one at 0 and at 100 %."""
    share = 100 * count / of
    return f"{share:.1f} %" if share < 99.95 and count else f"{share:.0f} %"


def _power(one: ErrorRates) -> str:
    return f"{_share(one.passed, one.gates)}, {one.rounds / one.gates:.0f}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} s"
