"""What a search is about, as its tests tell it before the first candidate: space, kernels, device, source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.search.journal.champions import Champion
from pytest_kgate.search.journal.champions import device_of
from pytest_kgate.search.journal.champions import source_hash
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.running.builds.foresee import Build
from pytest_kgate.search.running.evaluator import Seen
from pytest_kgate.search.running.reading.estimate import labels
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.running.child.order import Answered

_MARKER = (
    "Say what may be chosen, and take it from the fixture: @pytest.mark.search(micro={'STAGES': [2, 3]}), then "
    'kernels("mine.cu", **knobs).'
)

_NO_TEST = "pytest finds no such test."
"""How the feedback begins where the node id is none."""


@dataclass(frozen=True)
class Subject:
    """All that one run of the tests up to their builds has told."""

    test: str
    """Node id from pytest's root on: of one test, of a function with all its parameters, or of a file."""
    tests: tuple[str, ...]
    """Node ids of all tests."""
    names: tuple[str, ...]
    """Of all their calls, as tables show them."""
    space: Space
    seen: Seen
    source: str
    """As champions name it."""
    device: str
    """As champions name it."""
    on_host: bool
    """Whether candidates run on the cores that build."""
    root: Path
    """pytest's root folder."""
    scope: Scope

    def champion(self, confirmation: Confirmation, journal: Path) -> Champion:
        """The entry for the file of champions; it holds for the tests that confirmed it, and no others."""
        return Champion(
            self.test,
            self.source,
            self.scope.source,
            self.device,
            () if self.tests == (self.test,) else self.tests,
            confirmation.configuration,
            MappingProxyType(dict(confirmation.ratios)),
            confirmation.alpha,
            confirmation.processes,
            os.path.relpath(journal, self.root),
        )


def subject_of(test: str, answered: Answered) -> Subject:
    """The subject, from the answer to `Judge.build`; raises `KgateError` where a search makes no sense."""
    answer = answer_on(test, answered)
    searches, records = answer["searches"], answer["records"]
    if len(searches) < len({record["test"] for record in records}):
        raise UsageError(f"{test} does not take its knobs from a search marker.", _MARKER)
    if any(one != searches[0] for one in searches):
        raise UsageError(
            f"The tests of {test} have different search markers.", "Search for each of them by itself, in its own file."
        )
    demand_gates(test, answer)
    found, first, root = searches[0], records[0], Path(searches[0]["root"])
    space = Space.read(found)
    builds = tuple(dict.fromkeys(_built_for(Build.of(one), records) for one in answer["builds"]))
    _demand_passed_on(test, space, builds)
    source = _source(first, builds, root)
    tests = tuple(dict.fromkeys(record["test"] for record in records))
    return Subject(
        _whole(tests),
        tests,
        tuple(labels(records)),
        space,
        Seen(_configuration(first, space), builds),
        source,
        device_of(first["environment"]),
        first["environment"]["device"] != "cuda",
        root,
        Scope(
            source_hash(source, root) or "",
            tuple(flag for flag in first["candidate"]["flags"] if not flag.startswith("-D")),
            first["candidate"]["arch"] or device_of(first["environment"]),
            environment_of(first["environment"]),
        ),
    )


def answer_on(test: str, answered: Answered) -> Mapping[str, Any]:
    """The answer on the test's own candidate, with records; raises `KgateError` where the test judges nothing."""
    answer = answered.answer
    if answer is None:
        raise KgateError(
            f"{test} could not be run: {answered.lost}", "Run it by itself: pytest, with the same options."
        )
    if not answer["records"]:
        if answer["feedback"].startswith(_NO_TEST):
            raise UsageError(f"There is no test {test}.", "`pytest --collect-only -q` lists what there is.")
        raise UsageError(f"{test} can't be judged as it is. {answer['feedback']}", "Let it pass once by itself first.")
    return answer


def demand_gates(test: str, answer: Mapping[str, Any]) -> None:
    """Raise `UsageError` where a call of the test demands no speed: a search of it could never confirm anything."""
    if not all(answer["speed_gates"]):
        whose = "Not every call of" if any(answer["speed_gates"]) else "No call of"
        raise UsageError(
            f"{whose} {test} demands speed, so that nothing could be confirmed.",
            "Say how fast it must be: @pytest.mark.speedup(1.0) demands less latency than the reference's.",
        )


def _demand_passed_on(test: str, space: Space, builds: Sequence[Build]) -> None:
    """Raise `UsageError` where kernels have a knob of the space and the test sets it for none of them.

    A search sets it all the same, by `--kgate-knob`, but plain runs would never use what it finds.
    """
    set_by_test = {name for one in builds for name, _ in one.knobs}
    for one in builds:
        source = find_source(Path(one.source))
        forgotten = [knob.name for knob in source.knobs if knob.name in space.names and knob.name not in set_by_test]
        if forgotten:
            raise UsageError(
                f"{test} does not set {forgotten[0]} of {source.name}, so that plain runs would not use what is found.",
                f'Hand its knobs on: kernels("{Path(one.source).name}", **knobs).',
            )


def _configuration(record: Record, space: Space) -> Configuration:
    """What the run was made with: a champion's knobs perhaps, else the defaults."""
    asked: Mapping[str, Any] = record.get("asked") or {}
    chosen = asked.get("knobs", {})
    values = {name: chosen[name]["value"] for name in space.names if name in chosen}
    return Configuration.of({**space.default.as_dict(), **values})


def _built_for(build: Build, records: Sequence[Record]) -> Build:
    """With the architecture that it was built for, which this process would have to ask a GPU for."""
    arch = next((one["candidate"]["arch"] for one in records if one["candidate"]["resources"]), None)
    return replace(build, arch=arch) if build.arch is None and build.source.endswith(".cu") else build


def _source(record: Record, builds: Sequence[Build], root: Path) -> str:
    """A shipped implementation's name, or the path of the file with the kernel, or with the test that has it."""
    if record["candidate"]["implementation"]:
        return record["candidate"]["implementation"]
    if builds:
        return os.path.relpath(builds[0].source, root)
    return record["test"].partition("::")[0]


def _whole(tests: Sequence[str]) -> str:
    """The one test, or what is common to all: a function without its parameters, or a file."""
    if len(tests) == 1:
        return tests[0]
    functions = {test.partition("[")[0] for test in tests}
    return functions.pop() if len(functions) == 1 else tests[0].partition("::")[0]


def environment_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """What latencies depend on besides the source, by name."""
    gpu, packages = environment.get("gpu", {}), environment.get("packages", {})
    known = {
        "GPU": gpu.get("name"),
        "driver": gpu.get("driver"),
        "CUDA": environment.get("cuda_runtime"),
        "CPU": environment.get("cpu", {}).get("model"),
        "PyTorch": packages.get("torch"),
        "Triton": packages.get("triton"),
    }
    return {name: str(value) for name, value in known.items() if value}
