"""A search's outcomes in T4, the results format that autotuners share, so that their tools read them. Pure.

Version 1.0.0 of the results schema of the auto-tuning community (github.com/odgaard/TuningSchema), which Kernel Tuner
and KTT write, and autotuning_methodology reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial

VERSION = "1.0.0"

OBJECTIVE = "latency_ratio"
"""Candidate over reference: what is least is best, as with times."""

INVALIDITY: Mapping[State, str] = MappingProxyType(
    {
        "raced": "correct",
        "refused": "constraints",
        "spills": "constraints",
        "unbuildable": "compile",
        "wrong": "correctness",
        "cheats": "correctness",
        "error": "runtime",
        "crash": "runtime",
        "timeout": "timeout",
    }
)
"""The format's word for each state."""


def document(trials: Iterable[tuple[str, Trial]]) -> dict[str, Any]:
    """The results of these trials, each with the time at which it ended."""
    return {"schema_version": VERSION, "results": [_result(time, trial) for time, trial in trials]}


def _result(time: str, trial: Trial) -> dict[str, Any]:
    return {
        "timestamp": time,
        "configuration": trial.configuration.as_dict(),
        "objectives": [OBJECTIVE],
        "times": {
            "compilation_time": trial.seconds.get("build", 0.0),
            "validation": trial.seconds.get("check", 0.0),
            "framework": trial.seconds.get("race", 0.0),
            "search_algorithm": 0.0,
            "runtimes": [],
        },
        "invalidity": INVALIDITY[trial.state],
        "correctness": 1 if trial.state == "raced" else 0,
        "measurements": _measurements(trial),
    }


def _measurements(trial: Trial) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if trial.objective is not None:
        found.append(_number(OBJECTIVE, math.exp(trial.objective.log_ratio)))
        found.append(_number("rounds", trial.objective.rounds))
        found += [_number(f"{OBJECTIVE} {name}", math.exp(one.log_ratio)) for name, one in trial.estimates.items()]
    units = {"registers": "", "shared_bytes": "bytes", "spill_bytes": "bytes"}
    return found + [_number(name, value, units.get(name, "")) for name, value in trial.resources.items()]


def _number(name: str, value: float, unit: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit}
