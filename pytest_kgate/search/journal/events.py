"""The events of a search's journal, and how trials and confirmations are written in them. Pure.

| event | when | holds, besides `event` and `time` |
| --- | --- | --- |
| `search` | first | schema, version, what is searched and how: a `Head` |
| `resumed` | a process goes on with the search | its scope, and how that differs from the one before |
| `started` | before an evaluation | its key, that is the candidates' identities and the rounds; their knobs |
| `outcome` | after it | the key, and a trial for each candidate: several after a joint race |
| `interrupted` | Ctrl-C | the keys of evaluations under way, which are no crashes |
| `alpha spent` | before a confirmation | its number, what it pays, the candidate |
| `confirmation` | after it | the same, and the verdicts |
| `champion` | a confirmation passed | the candidate |
| `ended` | a process ends its part of the search | why |

An event stands on one line, and what is not read by this version is ignored: a later version may add to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import get_args

from pytest_kgate.report.record.values import plain
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

SCHEMA = "pytest-kgate/search"
VERSION = 1

Event = Mapping[str, Any]


def trial_facts(trial: Trial) -> dict[str, Any]:
    """A trial in JSON's own types."""
    facts: dict[str, Any] = {"knobs": trial.configuration.as_dict(), "state": trial.state}
    if trial.reason:
        facts["reason"] = trial.reason
    if trial.objective is not None:
        facts["objective"] = _estimate_facts(trial.objective)
    facts["estimates"] = {name: _estimate_facts(one) for name, one in trial.estimates.items()}
    facts["resources"] = dict(trial.resources)
    facts["seconds"] = {name: round(value, 6) for name, value in trial.seconds.items()}
    if trial.parents:
        facts["parents"] = list(trial.parents)
    if trial.source:
        facts["source"] = trial.source
    if trial.joint:
        facts["joint"] = True
    return facts


def trial_of(facts: Mapping[str, Any]) -> Trial:
    """The trial that `trial_facts` wrote; ValueError where its state is none."""
    objective = facts.get("objective")
    if facts["state"] not in get_args(State):
        raise ValueError(f"state {facts['state']!r}")
    return Trial(
        Configuration.of(facts["knobs"]),
        facts["state"],
        facts.get("reason", ""),
        {name: _estimate_of(one) for name, one in facts.get("estimates", {}).items()},
        None if objective is None else _estimate_of(objective),
        facts.get("resources", {}),
        facts.get("seconds", {}),
        tuple(facts.get("parents", ())),
        facts.get("source", ""),
        facts.get("joint", False),
    )


def confirmation_facts(confirmation: Confirmation) -> dict[str, Any]:
    """A confirmation in JSON's own types."""
    return {
        "knobs": confirmation.configuration.as_dict(),
        "passed": confirmation.passed,
        "alpha": confirmation.alpha,
        "processes": confirmation.processes,
        "verdicts": dict(confirmation.verdicts),
        "ratios": plain(confirmation.ratios),
        "reason": confirmation.reason,
    }


def confirmation_of(facts: Mapping[str, Any]) -> Confirmation:
    """The confirmation that `confirmation_facts` wrote."""
    ratios = {}
    for name, values in facts["ratios"].items():
        ratio, low, high = (float(value) for value in values)
        ratios[name] = ratio, low, high
    return Confirmation(
        Configuration.of(facts["knobs"]),
        facts["passed"],
        facts["alpha"],
        facts["processes"],
        facts["verdicts"],
        ratios,
        facts["reason"],
    )


def _estimate_facts(estimate: Estimate) -> list[Any]:
    facts: list[Any] = plain([estimate.log_ratio, estimate.stderr, estimate.degrees, estimate.rounds])
    return facts


def _estimate_of(facts: list[Any]) -> Estimate:
    log_ratio, stderr, degrees, rounds = facts
    return Estimate(float(log_ratio), float(stderr), float(degrees), int(rounds))
