"""What was raced: build of the candidate, choice of the reference, and all that repeats the call."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.rows import number
from pytest_kgate.report.text.failure import again

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import CandidateFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import ReferenceFacts

_RESOURCES = ("registers", "shared_bytes", "stack_bytes", "spill_bytes")


def figures(record: Record) -> Iterator[Figure]:
    """Tables of build, registers, references and circumstances, and the command that runs the test again."""
    candidate, reference = record["candidate"], record["reference"]
    yield from _build(candidate, _knobs(record))
    if reference is not None and (reference["choices"] or reference.get("refused")):
        yield _choice(reference)
    yield Figure("Again", text=again(record), caption="From the folder in which pytest was started.")
    repeats = [(name, str(value)) for name, value in record["seeds"].items()]
    sources = record["asked"]["sources"] if "asked" in record else {}
    repeats += [(f"{name}, set by", source) for name, source in sources.items()]
    yield Figure("Seeds and options", Table(("what", "value"), repeats, numbers_from=2))
    facts = [("test", record["test"]), ("started", record["started"]), *_environment(record["environment"])]
    yield Figure("Where and when", Table(("what", "value"), facts, numbers_from=2))
    spent = sorted(record.get("seconds", {}).items(), key=lambda one: -one[1])
    if spent:
        rows = [(name, text.seconds(value)) for name, value in spent]
        yield Figure("Where the seconds of the call went", Table(("what", "seconds"), rows))


def _choice(reference: ReferenceFacts) -> Figure:
    chosen = reference["backend"] or reference["name"]
    by_time = sorted(reference["choices"].items(), key=lambda one: number(one[1]))
    rows = [(name, text.seconds(number(value)), "raced" if name == chosen else "") for name, value in by_time]
    rows += [(name, "", f"did not run: {why}") for name, why in reference.get("refused", {}).items()]
    return Figure("Choice of the reference", Table(("reference", "in a short race", ""), rows))


def _build(candidate: CandidateFacts, knobs: str) -> Iterator[Figure]:
    rows = [
        ("implementation", candidate["implementation"]),
        ("architecture", candidate["arch"]),
        ("knobs", knobs),
        ("hash of source and flags", candidate["source_hash"]),
        ("flags", shlex.join(candidate["flags"])),
        ("weights", candidate.get("weights")),
        ("params that it was called without", ", ".join(candidate.get("ignored_params", []))),
    ]
    told = [(name, value) for name, value in rows if value]
    if told:
        yield Figure("Build", Table(("what", "value"), told, numbers_from=2))
    kernels = candidate["resources"]
    if kernels:
        present = [name for name in _RESOURCES if any(name in one for one in kernels)]
        cells = [(one["kernel"], *(str(one.get(name, "")) for name in present)) for one in kernels]
        head = ("kernel", *(one.replace("_bytes", " bytes") for one in present))
        yield Figure("Registers and memory of its kernels", Table(head, cells))


def _knobs(record: Record) -> str:
    """Of the build, and of the fixture that a candidate in Python takes them from; with who set each, where known."""
    asked = record["asked"].get("knobs", {}) if "asked" in record else {}
    values = {**{name: one["value"] for name, one in asked.items()}, **record["candidate"]["knobs"]}
    who = {name: f" ({asked[name]['source']})" if name in asked else "" for name in values}
    return ", ".join(f"{name}={value}{who[name]}" for name, value in values.items())


def _environment(environment: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts of each kind of device, as they are, one level deep."""
    for name, value in environment.items():
        if isinstance(value, dict):
            yield from ((f"{name}, {inner}", str(one)) for inner, one in value.items())
        else:
            yield name, str(value)
