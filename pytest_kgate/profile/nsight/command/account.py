"""The account of one profiled call: a record of what is known, and its lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.nsight.collection.facts import facts_of
from pytest_kgate.profile.nsight.command.compared import compared
from pytest_kgate.profile.nsight.command.pages import rules_of
from pytest_kgate.profile.nsight.command.pages import stalls_of
from pytest_kgate.profile.nsight.command.position import position
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
    from pytest_kgate.profile.nsight.collection.collect import Collection
    from pytest_kgate.profile.nsight.collection.collect import CountedCall
    from pytest_kgate.profile.nsight.collection.collect import CountedTest
    from pytest_kgate.report.record.record import Record


@dataclass(frozen=True)
class Account:
    """One call of `kbench` in a test."""

    record: Record
    """With counters and findings; nothing in it is raced or judged."""
    how: Collection
    candidate: CountedCall | None
    reference: CountedCall | None
    """The fastest under the tool, of those that may be the fastest in a race."""

    def lines(self, rates: MeasuredRates | None, *, everything: bool, rules: bool, source: bool) -> Iterator[str]:
        """The whole account. `rates` are those of the device, where they are known."""
        record, counters = self.record, self.record["counters"]
        reference = record["reference"]
        beside = f" beside {reference['backend'] or reference['name']}" if reference else ""
        call = f", call {record['call'] + 1}" if record["call"] else ""
        yield f"{record['test']}{call}: {record['candidate']['name']}{beside} on {record['problem']['name']}"
        if counters["state"] == "not measured":
            yield f"  not measured: {counters['reason']}"
            return
        yield f"  {counters['tool']}, caches {_CACHES[counters['cache_control']]}; its times are not a race's"
        yield from _indented(compared(counters, everything=everything))
        yield "  operations and bytes:"
        yield from _indented(position(record, rates), 4)
        yield "  findings:"
        found = [f"{one['name']} ({one['confidence']}): {one['finding']} {one['advice']}" for one in record["insights"]]
        yield from _indented(found or ["none"], 4)
        for arm in (self.candidate, self.reference) if rules or source else ():
            if arm is not None:
                yield from self._pages(arm, rules=rules, source=source)

    def _pages(self, arm: CountedCall, *, rules: bool, source: bool) -> Iterator[str]:
        assert self.how.report is not None
        try:
            if rules:
                yield f"  Nsight Compute's rules on the {arm.arm}:"
                yield from _indented(rules_of(self.how.program, self.how.report, arm) or ["nothing"], 4)
            if source:
                yield f"  where warps of the {arm.arm} were found, in percent of the samples:"
                yield from _indented(stalls_of(self.how.program, self.how.report, arm), 4)
        except UnreadableReport as error:
            yield f"    {error.what} {error.todo}"


_CACHES = {"none": "as in a hot race", "all": "emptied before each pass, as in a cold race"}


def accounts_of(test: CountedTest, how: Collection, arch: str) -> list[Account]:
    """The accounts of all calls of a test, on a GPU of this architecture."""
    found = []
    for number, told in sorted(test.records.items()):
        calls = [one for one in test.calls if one.call == number]
        candidate = next((one for one in calls if one.arm == "candidate"), None)
        references = [one for one in calls if one.arm == "reference" and one.launches]
        reference = min(references, key=_seconds, default=None)
        record: Record = {**told, "counters": facts_of(test, candidate, reference, how, arch)}
        if reference is not None:
            name = reference.backend or "reference"
            record["reference"] = {"name": name, "backend": reference.backend, "choices": {}, "refused": {}}
        record["insights"] = insights_of(record) if record["counters"]["state"] == "measured" else []
        found.append(Account(record, how, candidate, reference))
    return found


def _seconds(call: CountedCall) -> float:
    """Of all its launches under the tool: good enough to choose one of several."""
    (duration,) = METRICS["duration"].raw
    return sum(one["metrics"].get(duration, 0.0) for one in call.launches)


def _indented(lines: Iterator[str] | list[str], by: int = 2) -> Iterator[str]:
    return (f"{'':{by}}{line}" for line in lines)
