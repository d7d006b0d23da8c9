"""What a search over sources rests on: the test with its own candidate judged, the device, the judge of sources."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import KgateError
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.prompts.judging import SourceJudge
from pytest_kgate.search.running.subject import answer_on
from pytest_kgate.search.running.subject import demand_gates
from pytest_kgate.search.running.subject import environment_of
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.device_facts import device_facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.prompts.replies.stored import Replies
    from pytest_kgate.search.running.child.order import Order
    from pytest_kgate.search.running.executors.pool import Pool
    from pytest_kgate.search.running.judge import Judge
    from pytest_kgate.search.space.configuration import Value

STRATEGY = "provider"
"""In the head of a journal over sources."""


@dataclass(frozen=True)
class Sources:
    """All that the test's own candidate has told, before any source is judged."""

    test: str
    """Node id, without parameters."""
    records: Sequence[Record]
    """Of the test's own candidate: what is demanded, and what it is raced against."""
    on_host: bool
    """Whether candidates run on the cores that compile."""
    facts: Mapping[str, Value]
    """Of the device, as far as prompts tell them."""
    judge: SourceJudge
    scope: Scope

    @classmethod
    def of(cls, own: Judge, pool: Pool, replies: Replies, entry: str) -> Sources:
        """Judge the test as it is; raises `KgateError` where it judges nothing, or demands no speed."""
        answer = answer_on(own.test, pool.run(_judged(own)))
        demand_gates(own.test, answer)
        records: list[Record] = list(answer["records"])
        environment = records[0]["environment"]
        facts = _facts(environment)
        return cls(
            records[0]["test"].partition("[")[0],
            records,
            environment["device"] != "cuda",
            facts,
            SourceJudge(own.test, own.folder, own.arguments, own.limit_seconds, replies=replies, entry=entry),
            Scope("", (), str(facts.get("arch", "host")), environment_of(environment)),
        )


def _judged(judge: Judge) -> Order:
    """The test's own candidate, judged by its gates."""
    order = judge.screen(Configuration.of({}), 2)
    kept = tuple(one for one in order.arguments if not one.startswith("--rounds="))
    return dataclasses.replace(order, arguments=kept)


def _facts(environment: Mapping[str, Any]) -> Mapping[str, Value]:
    """Of the device, as far as prompts tell them; of a GPU that is not known here, nothing."""
    gpu = environment.get("gpu")
    if not gpu:
        host = device_facts(None, None)
        return {name: host[name] for name in ("cores", "simd")}
    try:
        return device_facts(f"sm_{str(gpu['capability']).replace('.', '')}", None)
    except (KgateError, KeyError):
        return {}
