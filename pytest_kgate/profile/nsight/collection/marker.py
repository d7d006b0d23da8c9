"""Counters for a session's tests: one process under Nsight Compute for all of them, at the first that wants some."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Protocol

import pytest

from pytest_kgate.errors import TimingError
from pytest_kgate.profile.nsight.collection import refusals
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import CountedCall
from pytest_kgate.profile.nsight.collection.collect import CountedTest
from pytest_kgate.profile.nsight.collection.collect import collect
from pytest_kgate.profile.nsight.collection.facts import facts_of
from pytest_kgate.profile.nsight.collection.facts import without_counters
from pytest_kgate.profile.nsight.collection.page import PROGRAM
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import USUAL
from pytest_kgate.profile.nsight.metrics.table import is_raw
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.program import not_found
from pytest_kgate.profile.under_tool.session import ToolSession
from pytest_kgate.profile.under_tool.session import argument_of
from pytest_kgate.profile.under_tool.session import arguments_like
from pytest_kgate.profile.under_tool.session import environment_like
from pytest_kgate.report.format import counted as counted_words
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.facts.counters import CountersFacts
    from pytest_kgate.report.record.record import Record

_SECONDS_A_TEST = 30.0
"""By which the time limit of a process grows with each test that shares it. Most take a fifth of that."""

_MOST_TESTS = 32
"""That share a process: more would save nothing, and one test would wait for all."""

_LONGEST_NAME = 80

_SOME_CAPABILITY = "9.0"
"""Of devices that are no GPU."""


@dataclass(frozen=True)
class Wanted:
    """What is to be counted in a test. Tests of which `cache_control` is the same can share a process."""

    cache_control: str
    """`none` where the race's cache is hot, `all` where it is cold."""
    metrics: tuple[str, ...]
    """What its markers ask for: short names, and names of Nsight Compute."""


class Line(Protocol):
    """The terminal's line, in which a user reads why nothing seems to go on."""

    def waiting(self, text: str) -> None:
        """Say for whom the device waits."""

    def notice(self, text: str) -> None:
        """Say what takes long."""


Asked = Callable[[pytest.Item], "Wanted | None"]
"""What is wanted of a test; None where it is not profiled."""


@dataclass(frozen=True)
class Settings:
    """What the options of the session and of the test say."""

    timeout_seconds: float
    """How long a process under the tool may take, before what is added for each test beyond the first."""
    arch: str | None
    """What kernels are compiled for; None for the GPU at hand."""
    debug: bool
    """Whether the session builds kernels with what they assert."""
    sdpa_backend: str
    """What attention races against."""
    keep: Path | None = None
    """A folder that reports are kept in."""
    section_set: str | None = None
    """Of sections that are collected as well."""
    everything: bool = False
    """Whether all metrics of the table are read, also those of which no gate, finding or table of a session is made."""


_COUNTED = pytest.StashKey["dict[tuple[str, str], CountedTest]"]()
"""By node id and cache control."""


def counters_of(
    item: pytest.Item,
    record: Record,
    wanted: Wanted,
    asked: Asked,
    settings: Settings,
    device: Device,
    line: Line,
) -> CountersFacts:
    """What was counted in the call that has this record, or why nothing was.

    `wanted` is of this call, and `asked` says it of others.
    """
    if device.kind != "cuda":
        return _none(wanted, "Nsight Compute counts what kernels do on a GPU, and this candidate runs on the host.")
    program = find_program(PROGRAM)
    if program is None:
        return _none(wanted, f"{not_found(PROGRAM)}. Install Nsight Compute, or put it on PATH.")
    denied = refusals.denied()
    if denied is not None:
        return _none(wanted, denied)
    how = Collection(
        program=program,
        metrics=(),  # they depend on the tests that share the process
        session=ToolSession(
            directory=Path(item.config.invocation_params.dir),
            arguments=arguments_like(item.config),
            environment={
                **environment_like(device, settings.timeout_seconds, settings.arch, settings.debug),
                "KGATE_SDPA_BACKEND": settings.sdpa_backend,
            },
            timeout_seconds=settings.timeout_seconds,
        ),
        cache_control=wanted.cache_control,
        section_set=settings.section_set,
    )
    reference, gpu = record["reference"], record["environment"].get("gpu", {})
    wants = _Wants(
        item=item,
        call=record["call"],
        backend=None if reference is None else reference["backend"],
        gpu=gpu.get("uuid"),
        arch=arch_of(record),
        wanted=wanted,
        asked=asked,
        always=tuple(METRICS) if settings.everything else USUAL,
        keep=settings.keep,
    )
    try:
        # No other process should time beside this one.
        with leased(wants.gpu or device.kind, settings.timeout_seconds, line.waiting):
            counted = _counted(wants, how, line)
    except TimingError as error:
        return _none(wanted, f"{error.what} {error.todo}")
    return _facts(counted, wants, how)


def arch_of(record: Record) -> str:
    """The architecture of the GPU that a call was raced on: `sm_90`."""
    capability = record["environment"].get("gpu", {}).get("capability", _SOME_CAPABILITY)
    return f"sm_{str(capability).replace('.', '')}"


def of_isolated(cache_control: str) -> CountersFacts:
    """What the record of an isolated, confined candidate says of its counters: nothing is counted."""
    return _none(
        Wanted(cache_control, ()),
        "An isolated candidate runs in its own confined process only, and Nsight Compute would have it in another. "
        "Profile it without --kgate-isolate, if you trust it.",
    )


@dataclass(frozen=True)
class _Wants:
    """Whose counters are wanted."""

    item: pytest.Item
    call: int
    backend: str | None
    """The reference that has raced, by its name among several."""
    gpu: str | None
    """The UUID of the GPU that it has raced on."""
    arch: str
    """Of that GPU: `sm_90`."""
    wanted: Wanted
    asked: Asked
    always: tuple[str, ...]
    """Short names of what is read whatever markers ask for."""
    keep: Path | None


def _counted(wants: _Wants, how: Collection, line: Line) -> CountedTest:
    """What was counted in the test, with the others of the session that want the same, once the first of them is run.

    xdist's workers don't know which tests are theirs, so there each test has a process of its own. So has one of which
    another reference was counted than has raced.
    """
    item, asked = wants.item, wants.asked
    kept = item.config.stash.setdefault(_COUNTED, {})
    key = (item.nodeid, how.cache_control)
    if wants.backend is not None:
        how = replace(how, references={item.nodeid: {str(wants.call): wants.backend}})
    if key not in kept and not hasattr(item.config, "workerinput"):
        others = (one for one in item.session.items if one is not item and (one.nodeid, key[1]) not in kept)
        alike = [item, *itertools.islice((one for one in others if _shares(asked(one), how)), _MOST_TESTS - 1)]
        line.notice(f"{PROGRAM} counts what {counted_words(len(alike), 'test')} launch, in one process")
        kept |= _collected(alike, wants, how)
    if key not in kept or (not kept[key].reason and _of_arm(kept[key], wants, "reference") is None):
        kept |= _collected([item], wants, how)
    return kept[key]


def _shares(wanted: Wanted | None, how: Collection) -> bool:
    return wanted is not None and wanted.cache_control == how.cache_control


def _collected(items: Sequence[pytest.Item], wants: _Wants, how: Collection) -> dict[tuple[str, str], CountedTest]:
    wanted = [wants.wanted, *(one for one in map(wants.asked, items) if one is not None)]
    seconds = how.session.timeout_seconds + _SECONDS_A_TEST * (len(items) - 1)
    how = replace(
        how,
        metrics=raw_names([*wants.always, *(name for one in wanted for name in one.metrics)], wants.arch),
        session=replace(how.session, timeout_seconds=seconds),
        report=None if wants.keep is None else wants.keep / _file_name(items),
    )
    if how.report is not None:
        how.report.parent.mkdir(parents=True, exist_ok=True)
    found = collect([argument_of(one) for one in items], how)
    if "" in found:  # it came to no test at all, and another process would do the same
        found = {one.nodeid: replace(found[""], test=one.nodeid) for one in items}
    return {(test, how.cache_control): one for test, one in found.items()}


def _file_name(items: Sequence[pytest.Item]) -> str:
    """`tests-test_mine-test_latency-shape0-and-3-more.ncu-rep`."""
    name = re.sub(r"[^\w.]+", "-", items[0].nodeid.replace(".py", "")).strip("-")
    if len(name) > _LONGEST_NAME:
        name = name[-_LONGEST_NAME:].partition("-")[2] or name[-_LONGEST_NAME:]
    return f"{name}{f'-and-{len(items) - 1}-more' if len(items) > 1 else ''}.ncu-rep"


def _of_arm(counted: CountedTest, wants: _Wants, arm: str) -> CountedCall | None:
    backend = wants.backend if arm == "reference" else None
    found = (one for one in counted.calls if (one.call, one.arm, one.backend) == (wants.call, arm, backend))
    return next(found, None)


def _facts(counted: CountedTest, wants: _Wants, how: Collection) -> CountersFacts:
    candidate, reference = (_of_arm(counted, wants, arm) for arm in ("candidate", "reference"))
    reason = ""
    if candidate is not None and candidate.gpu != wants.gpu:
        reason = (
            f"{PROGRAM} watched GPU {candidate.gpu}, and the race was on {wants.gpu}. Set CUDA_VISIBLE_DEVICES, for "
            "the whole session, to the one to use."
        )
    raw = [name for name in wants.wanted.metrics if is_raw(name)]
    return facts_of(counted, candidate, reference, how, wants.arch, raw, reason)


def _none(wanted: Wanted, reason: str) -> CountersFacts:
    return without_counters(wanted.cache_control, reason)
