"""The `sanitize` marker: a test's kernels under compute-sanitizer, before they are checked and timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.profile.sanitizer.tools import PROGRAM
from pytest_kgate.profile.under_tool.variables import watched

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.profile.sanitizer.asked import Sanitize
    from pytest_kgate.profile.sanitizer.run import Examined
    from pytest_kgate.profile.sanitizer.run import ToolRun
    from pytest_kgate.report.record.facts.sanitizer import SanitizerFacts
    from pytest_kgate.report.record.facts.sanitizer import SanitizerVerdict

    Asked = Callable[[pytest.Item], Sanitize | None]
    """What a test's marker asks for; None where it has none."""

_SHARED = pytest.StashKey["dict[tuple[str, Sanitize], Examined]"]()
_OUTCOME = pytest.StashKey["SanitizerFacts | None"]()


@dataclass(frozen=True)
class Settings:
    """What the options of the session and of the test say."""

    timeout_seconds: float
    """How long one process under a tool may take."""
    arch: str | None
    """What kernels are compiled for; None for the GPU at hand."""
    debug: bool
    """Whether the session builds kernels with what they assert; a test's own marker says so in the child, too."""
    require_gpu: bool
    """Whether a test without a CUDA device fails, and is not skipped."""
    require_sanitizer: bool
    """Whether a test fails where its tools can't run."""


def outcome_of(
    item: pytest.Item, asked: Asked, settings: Settings, device: Device, waiting: Callable[[str], None]
) -> SanitizerFacts | None:
    """What the tools of the test's marker found, run once a test; None without a marker, and where they watch already.

    The keys are those of `sanitizer` in a record. `waiting` is told whom the device waits for.
    """
    if watched():
        return None
    if _OUTCOME not in item.stash:
        wanted = asked(item)
        item.stash[_OUTCOME] = None if wanted is None else _examine(item, asked, wanted, settings, device, waiting)
    return item.stash[_OUTCOME]


def _examine(
    item: pytest.Item,
    asked: Asked,
    wanted: Sanitize,
    settings: Settings,
    device: Device,
    waiting: Callable[[str], None],
) -> SanitizerFacts:
    if device.kind != "cuda":
        required = settings.require_gpu or settings.require_sanitizer
        return _not_run("compute-sanitizer needs a CUDA device, and this test has none", required)
    from pytest_kgate.profile.sanitizer.run import ToolRun
    from pytest_kgate.profile.under_tool.program import find_program
    from pytest_kgate.profile.under_tool.program import not_found
    from pytest_kgate.profile.under_tool.session import ToolSession
    from pytest_kgate.profile.under_tool.session import arguments_like
    from pytest_kgate.profile.under_tool.session import environment_like
    from pytest_kgate.system.gpu_lease import leased

    program = find_program(PROGRAM)
    if program is None:
        return _not_run(not_found(PROGRAM), settings.require_sanitizer)
    run = ToolRun(
        program=program,
        wanted=wanted,
        session=ToolSession(
            directory=Path(item.config.invocation_params.dir),
            arguments=arguments_like(item.config),
            environment=environment_like(device, settings.timeout_seconds, settings.arch, settings.debug),
            timeout_seconds=settings.timeout_seconds,
        ),
    )
    lease = device.environment().get("gpu", {}).get("uuid", device.kind)
    with leased(lease, settings.timeout_seconds, waiting):  # no other process should time kernels beside this
        runs = [_examined(item, tool, run, asked) for tool in wanted.tools]
    verdicts = {run.verdict for run in runs}
    worst_first: tuple[SanitizerVerdict, ...] = ("FAIL", "ERROR", "SKIP")
    verdict: SanitizerVerdict = next((one for one in worst_first if one in verdicts), "PASS")
    return {
        "verdict": verdict,
        "reason": next((run.reason for run in runs if run.verdict == verdict), ""),
        "required": settings.require_sanitizer,
        "runs": [run.to_dict() for run in runs],
    }


def _examined(item: pytest.Item, tool: str, run: ToolRun, asked: Asked) -> Examined:
    """What the tool says of the test; of all tests that ask it the same way, once the first of them is run.

    They share a process, for starting one takes longer than most tests. xdist's workers don't know which tests are
    theirs, so there each test has its own.
    """
    from pytest_kgate.profile.sanitizer.run import examine
    from pytest_kgate.profile.under_tool.session import argument_of

    kept = item.config.stash.setdefault(_SHARED, {})
    wanted = replace(run.wanted, tools=(tool,))
    if (item.nodeid, wanted) not in kept:
        alike = [item]
        if not hasattr(item.config, "workerinput"):
            alike = [
                one for one in item.session.items if _asks(asked(one), wanted) and (one.nodeid, wanted) not in kept
            ]
        outcomes = examine(tool, [argument_of(one) for one in alike], replace(run, wanted=wanted))
        kept |= {(outcome.test, wanted): outcome for outcome in outcomes}
        if (item.nodeid, wanted) not in kept:  # the process was lost before it had collected its tests
            kept[item.nodeid, wanted] = (outcomes if len(alike) == 1 else examine(tool, [argument_of(item)], run))[0]
    return kept[item.nodeid, wanted]


def _asks(asked: Sanitize | None, wanted: Sanitize) -> bool:
    """Whether the tool of `wanted` is asked for, in the same way."""
    return asked is not None and wanted.tools[0] in asked.tools and replace(asked, tools=wanted.tools) == wanted


def _not_run(reason: str, required: bool) -> SanitizerFacts:
    return {"verdict": "SKIP", "reason": reason, "required": required, "runs": []}
