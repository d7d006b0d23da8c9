"""What came of a candidate, from the answer of `kgate evaluate`: the trial that a search keeps. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.search.policy.objective import over_shapes
from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.running.reading.estimate import estimate_of
from pytest_kgate.search.running.reading.estimate import labels

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import KernelFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.running.child.order import Answered
    from pytest_kgate.search.space.configuration import Configuration

_LONGEST_REASON = 400
"""Characters: a journal has thousands of them, and `kgate evaluate` shows the whole."""

_SAID = (
    (re.compile(r"does not compile"), "unbuildable"),
    (re.compile(r"^The time limit |\bhung\b|can't be interrupted"), "timeout"),
    (re.compile(r"^The candidate (crashed|ended the process)|device was lost"), "crash"),
)
"""By what an answer without a record of a race says, in the order in which it is looked for."""

_RESOURCES = (("registers", "registers"), ("shared_bytes", "shared_bytes"), ("spill_bytes", "spill_bytes"))


def trial_of(configuration: Configuration, answered: Answered, *, joint: bool = False) -> Trial:
    """The trial of one candidate that was evaluated by itself."""
    if answered.answer is None:
        return Trial(configuration, "timeout" if answered.killed else "crash", answered.lost)
    return read(configuration, answered.answer, answered.answer.get("records", ()), joint=joint)


def read(
    configuration: Configuration,
    answer: Mapping[str, Any],
    records: Sequence[Record],
    *,
    joint: bool = False,
    names: Sequence[str] = (),
) -> Trial:
    """The trial of these records of an answer: raced, where each of its calls was raced and found right.

    `names` are those of the calls, where there are as many as records; else they are named here.
    """
    seconds, resources = (
        seconds_of(records),
        resources_of([one for r in records for one in r["candidate"]["resources"]]),
    )
    blamed = next((record for record in records if not _usable(record)), None)
    ended_well = answer["verdict"] in VERDICTS and answer["verdict"] != "ERROR"
    if blamed is not None or not records or not ended_well:
        state, reason = _blame(blamed, str(answer["feedback"]))
        return Trial(configuration, state, reason, resources=resources, seconds=seconds)
    estimates = {
        label: found
        for label, record in zip(names if len(names) == len(records) else labels(records), records, strict=True)
        if (found := estimate_of(record)) is not None
    }
    if len(estimates) < len(records):
        return Trial(configuration, "error", "A call of the test took no round of a race.", resources=resources)
    return Trial(
        configuration,
        "raced",
        estimates=estimates,
        objective=over_shapes(estimates.values()),
        resources=resources,
        seconds=seconds,
        joint=joint,
    )


def seconds_of(records: Sequence[Record]) -> dict[str, float]:
    """What check and race of all calls took; waiting for the device is in neither."""
    found = {"check": 0.0, "race": 0.0}
    for record in records:
        spent = {name: value for name, value in record.get("seconds", {}).items() if name != "lease"}
        race = sum(spent.get(name, 0.0) for name in ("race", "timed", "warm-up", "probes", "settle", "capture"))
        found["race"] += race
        found["check"] += sum(spent.values()) - race
    return found


def resources_of(kernels: Sequence[KernelFacts]) -> dict[str, int]:
    """The most that any kernel of the build takes; empty where the compiler reports nothing."""
    return {
        name: max(int(kernel.get(key, 0)) for kernel in kernels)  # type: ignore[call-overload]
        for name, key in _RESOURCES
        if kernels
    }


def _usable(record: Record) -> bool:
    """Whether the race's rounds may steer a search: the answers are right, and nothing was found that is a cheat.

    A race that others' load has disturbed is noisy, and no more than that: a search claims nothing from it.
    """
    if record["verdict"] in ("WRONG", "ERROR") or _cheated(record):
        return False
    return record["timing"] is not None and record["timing"]["rounds"] > 1


def _cheated(record: Record) -> str:
    """What it does that no candidate may, as a sentence; empty where nothing was found."""
    integrity, timing = record.get("integrity"), record["timing"]
    if integrity and integrity["findings"]:
        return integrity["findings"][0]["reason"]
    return timing.get("undone", "") if timing else ""


def _blame(record: Record | None, feedback: str) -> tuple[State, str]:
    if record is not None:
        if record["verdict"] == "WRONG":
            return "wrong", shortened(record["reason"])
        if found := _cheated(record):
            return "cheats", shortened(found)
    told = feedback if record is None else record["reason"]
    for pattern, state in _SAID:
        if pattern.search(told):
            return state, shortened(told)  # type: ignore[return-value]
    return "error", shortened(told)


def shortened(text: str) -> str:
    """The first lines of a message, as one."""
    line = " ".join(text.split("\n\n")[0].split())
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 3]}..."
