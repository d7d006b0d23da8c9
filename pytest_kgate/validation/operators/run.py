"""Show the check all operators: an honest candidate for each, which must pass, and its mutants, all of which must die.

`python -m pytest_kgate.validation.operators.run --device cuda --json FILE` takes some minutes on a GPU with 24 GB. With
`--overflow`, on one with 80 GB, a gate of an output of 4 GiB follows, and one whose candidate has an index of 32 bits.
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
from torch import Tensor

from pytest_kgate.bench.call import run
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.arm import bind
from pytest_kgate.device.open import open_device
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.report.page import markdown
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.system import json_file
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import normal
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
    _forget_peak(device)
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
    return Row(problem.name, operator.kind, honest, killed, lived, same, time.perf_counter() - start, _peak(device))


def overflow(
    device: Device,
    *,
    rows: int = 2**20 + 64,
    width: int = 2048,
    index_limit: int = 2**31,
    budget: float = 20.0,
) -> dict[str, Any]:
    """A whole gate each of an honest candidate and of one that leaves out what lies beyond an index of 32 bits.

    The output is (rows, width) of float16, by default a little over 4 GiB; `budget` is that of each race, in seconds.
    """

    def repeated(x: Tensor) -> Tensor:
        return (-x).repeat(rows // len(x) + 1, 1)[:rows].contiguous()

    def overflowing(x: Tensor) -> Tensor:
        answer = repeated(x)
        answer.view(-1)[index_limit:] = 0
        return answer

    problem = Problem(
        name=f"rows, an output of {2 * rows * width / 2**30:.3g} GiB",
        inputs=lambda g: (normal(g, min(rows, 4096), width, dtype=torch.float16),),
        reference=repeated,
        exact=lambda x: repeated(x.double()),
    )
    found: dict[str, Any] = {"problem": problem.name}
    for name, candidate in (("honest", lambda x: repeated(x)), ("overflow", overflowing)):
        start = time.perf_counter()
        _forget_peak(device)
        settings = Settings(budget=budget, foreign_load="warn")
        request = Request("overflow", 0, candidate, problem, (SpeedGate(2.0),), None, settings)
        record = run(request, device, ReferencePicker(), {}, print).record
        found[name] = {
            "verdict": record["verdict"],
            "reason": record["reason"],
            "seconds": time.perf_counter() - start,
            "peak_bytes": _peak(device),
        }
    return found


def table(rows: Iterable[Mapping[str, Any]], on_gpu: Mapping[str, Any] | None = None) -> str:
    """The rows as a Markdown table, without what differs from run to run; beside them those of a GPU's record."""
    there = {row["operator"]: row for row in on_gpu["rows"]} if on_gpu else {}
    cells = (
        (
            row["operator"],
            row["kind"],
            row["honest"],
            _dying(row),
            ", ".join(row["same"]),
            *_cells_of_gpu(there.get(row["operator"]), on_gpu),
        )
        for row in rows
    )
    head = ("operator", "what is special", "honest candidate", "mutants that die", "no mutant here")
    more = (on_gpu["environment"]["gpu"]["name"], "GiB") if on_gpu else ()
    made = markdown.grid((*head, *more), {"mutants that die", *more}, cells)
    return f"{made}\n{_told(on_gpu['overflow'])}\n" if on_gpu and "overflow" in on_gpu else made


def recorded(folder: Path) -> dict[str, Any] | None:
    """The latest of a folder's records of a GPU, `*/operators-*.json`; None where there is none."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/operators-*.json")]
    return max(
        (one for one in records if "gpu" in one["environment"]), key=lambda one: str(one["created"]), default=None
    )


def _dying(row: Mapping[str, Any]) -> str:
    mutants = row["killed"] + len(row["lived"])
    return f"{row['killed']} of {mutants}" if mutants else ""


def _cells_of_gpu(row: Mapping[str, Any] | None, on_gpu: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What became of an operator there, and the most memory that it held; nothing where it was not run."""
    if on_gpu is None:
        return ()
    if row is None:
        return "", ""
    honest = row["honest"].partition(":")[0]  # of what is refused, the sentence stands in the host's column
    return f"{honest}, {_dying(row)}".removesuffix(", "), f"{row['peak_bytes'] / 2**30:.1f}"


def _told(found: Mapping[str, Any]) -> str:
    """The gates of `overflow`, as a paragraph."""
    honest, wrong = found["honest"], found["overflow"]
    return (
        f"Of {found['problem']}, there: the honest candidate's gate is {honest['verdict']} ({_used(honest)}), that of "
        f"a candidate with an index of 32 bits {wrong['verdict']} ({_used(wrong)}): {wrong['reason']}."
    )


def _used(gate: Mapping[str, Any]) -> str:
    return f"{gate['peak_bytes'] / 2**30:.1f} GiB, {gate['seconds']:.1f} s"


def _forget_peak(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: Device) -> int | None:
    return torch.cuda.max_memory_allocated() if device.kind == "cuda" else None


def main() -> None:
    """Judge all, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N or host")
    parser.add_argument("--small", action="store_true", help="small shapes on a GPU, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--overflow", action="store_true", help="an output of 4 GiB as well: for a GPU with 80 GB")
    options = parser.parse_args()
    device = open_device(options.device)
    rows = []
    for operator in OPERATORS:
        rows.append(asdict(judge(device, operator, large=device.kind == "cuda" and not options.small)))
        print(f"{rows[-1]['operator']}: {rows[-1]['honest']}, {rows[-1]['lived']}", flush=True)
    print(table(rows))
    large = {"overflow": overflow(device)} if options.overflow else {}
    print(large.get("overflow", ""))
    if options.json is not None:
        content = {"schema": SCHEMA, "created": now(), "environment": device.environment(), "rows": rows, **large}
        json_file.save(options.json, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
