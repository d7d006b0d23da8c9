"""What came of candidates that were evaluated in one process, raced in the same rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.running.reading.outcome import read
from pytest_kgate.search.running.reading.outcome import trial_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.running.child.order import Answered
    from pytest_kgate.search.space.configuration import Configuration


def trials_of(configurations: Sequence[Configuration], answered: Answered, names: Sequence[str] = ()) -> list[Trial]:
    """A trial of each, in their order; what ended the process is an outcome of all of them.

    `names` are those of the tests' calls as screenings have named them: in a joint race each test's id has its
    candidate's knobs, too.
    """
    answer = answered.answer
    if answer is None or not answer["records"]:
        return [trial_of(one, answered, joint=True) for one in configurations]
    found = []
    for one in configurations:
        records = [record for record in answer["records"] if _is_of(record, one)]
        # The answer's verdict and words are those of the worst candidate; each is judged by its own records.
        own = {**answer, "verdict": "MEASURED"} if records else answer
        found.append(read(one, own, records, joint=True, names=names))
    return found


def _is_of(record: Record, configuration: Configuration) -> bool:
    asked: Mapping[str, Any] = record.get("asked") or {}
    chosen = asked.get("knobs", {})
    return all(name in chosen and chosen[name]["value"] == value for name, value in configuration.knobs)
