"""Show the check all operators: an honest candidate for each, which must pass, and its mutants, all of which must die.

`python -m pytest_kgate.validation.operators.run --device cuda --json FILE` takes some minutes on a GPU with 24 GB.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.open import open_device
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import KgateError
from pytest_kgate.report.page import markdown
from pytest_kgate.report.record.values import now
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.table import OPERATORS

SCHEMA = "pytest-kgate/operators"

_SEED = 42


@dataclass(frozen=True)
class Row:
    """What became of one operator."""

    operator: str
    """Its name."""
    kind: str
    """What is special about it."""
    honest: str
    """`passes`, or why the honest candidate does not; `refused: ` and a sentence where the check does not take it."""
    killed: int
    """Mutants that the check found."""
    lived: tuple[str, ...]
    """Mutants that it did not find, and wrong answers that a check would let pass."""
    same: tuple[str, ...]
    """Mutants whose answers were the right ones."""
    seconds: float
    """Of it all."""
    peak_bytes: int | None
    """Most memory of the GPU that was held; None on the host."""


def judge(device: Device, operator: Operator, *, large: bool) -> Row:
    """Check the honest candidate on five draws, then all mutants."""
    start = time.perf_counter()
    problem = operator.problem(large)
    assert callable(problem.reference), "each has one reference"
    if device.kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    candidate, reference = (
        bind(role, function, problem.params, problem.mutates)
        for role, function in (("candidate", operator.candidate), ("reference", problem.reference))
    )
    killed, lived, same = 0, tuple[str, ...](), tuple[str, ...]()
    try:
        checked = check(device, problem, candidate, reference, None, _SEED)
        honest = checked.reason or "passes"
        found = selftest(device, problem, reference, None, _SEED)
        killed, lived = found.killed, (*found.lived, *checked.weak)
        same = tuple(fate.name for fate in found.fates if fate.outcome == "same")
    except KgateError as error:
        honest = f"refused: {error.what}" if operator.refused else f"{error.what} {error.todo}"
    peak = torch.cuda.max_memory_allocated() if device.kind == "cuda" else None
    return Row(problem.name, operator.kind, honest, killed, lived, same, time.perf_counter() - start, peak)


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table, without what differs from run to run."""
    cells = (
        (
            row["operator"],
            row["kind"],
            row["honest"],
            f"{row['killed']} of {dying}" if (dying := row["killed"] + len(row["lived"])) else "",
            ", ".join(row["same"]),
        )
        for row in rows
    )
    head = ("operator", "what is special", "honest candidate", "mutants that die", "no mutant here")
    return markdown.grid(head, ("mutants that die",), cells)


def main() -> None:
    """Judge all, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N or host")
    parser.add_argument("--small", action="store_true", help="small shapes on a GPU, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    options = parser.parse_args()
    device = open_device(options.device)
    rows = []
    for operator in OPERATORS:
        rows.append(asdict(judge(device, operator, large=device.kind == "cuda" and not options.small)))
        print(f"{rows[-1]['operator']}: {rows[-1]['honest']}, {rows[-1]['lived']}", flush=True)
    print(table(rows))
    if options.json is not None:
        content = {"schema": SCHEMA, "created": now(), "environment": device.environment(), "rows": rows}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
