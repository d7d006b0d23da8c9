"""The `sanitize` marker: a test's kernels under compute-sanitizer, before they are checked and timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.profile.sanitizer.tools import find_program
from pytest_kgate.profile.under_tool import launch_only as sanitized_child
from pytest_kgate.session.markers import gates_of

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.profile.sanitizer.run import Examined
    from pytest_kgate.profile.sanitizer.run import Order
    from pytest_kgate.profile.sanitizer.tools import Sanitize
    from pytest_kgate.session.options.values import Options
    from pytest_kgate.session.session import Session

_SHARED = pytest.StashKey["dict[tuple[str, Sanitize], Examined]"]()
_OUTCOME = pytest.StashKey["dict[str, Any] | None"]()

NO_TOOL = (
    "compute-sanitizer was not found: neither on PATH, nor below CUDA_HOME or CUDA_PATH, nor beside nvcc. It is a part "
    "of the CUDA toolkit"
)


def outcome_of(item: pytest.Item, session: Session, device: Device) -> dict[str, Any] | None:
    """What the tools of the test's marker found, run once a test; None without a marker, and where they watch already.

    The keys are those of `sanitizer` in a record. Raises `UsageError` for a marker that makes no sense.
    """
    if sanitized_child.active():
        return None
    if _OUTCOME not in item.stash:
        wanted = gates_of(item).sanitize
        item.stash[_OUTCOME] = None if wanted is None else _examine(item, session, device, wanted)
    return item.stash[_OUTCOME]


def _examine(item: pytest.Item, session: Session, device: Device, wanted: Sanitize) -> dict[str, Any]:
    options = session.options.override(**gates_of(item).overrides)
    if device.kind != "cuda":
        required = options.require_gpu or options.require_sanitizer
        return _not_run("compute-sanitizer needs a CUDA device, and this test has none", required)
    program = find_program()
    if program is None:
        return _not_run(NO_TOOL, options.require_sanitizer)
    from pytest_kgate.profile.sanitizer.run import Order
    from pytest_kgate.system.gpu_lease import leased

    order = Order(
        program=program,
        wanted=wanted,
        directory=Path(item.config.invocation_params.dir),
        arguments=_arguments(item.config),
        environment=_environment(options, device),
        timeout=options.timeout,
    )
    lease = device.environment().get("gpu", {}).get("uuid", device.kind)
    with leased(lease, options.timeout):  # no other process should time kernels beside this
        runs = [one for tool in wanted.tools for one in _runs(item, tool, order)]
    verdicts = {run.verdict for run in runs}
    verdict = next((one for one in ("FAIL", "ERROR", "SKIP") if one in verdicts), "PASS")
    return {
        "verdict": verdict,
        "reason": next((run.reason for run in runs if run.verdict == verdict), ""),
        "required": options.require_sanitizer,
        "runs": [run.to_dict() for run in runs],
    }


def _runs(item: pytest.Item, tool: str, order: Order) -> list[Examined]:
    """What the tool says of the test; of all tests that ask it the same way, once the first of them is run.

    They share a process, for starting one takes longer than most tests. xdist's workers don't know which tests are
    theirs, so there each test has its own.
    """
    from pytest_kgate.profile.sanitizer.run import examine

    kept = item.config.stash.setdefault(_SHARED, {})
    wanted = replace(order.wanted, tools=(tool,))
    if (item.nodeid, wanted) not in kept:
        alike = [item]
        if not hasattr(item.config, "workerinput"):
            alike = [one for one in item.session.items if _asks(one, wanted) and (one.nodeid, wanted) not in kept]
        arguments = [f"{one.path}::{one.nodeid.partition('::')[2]}" for one in alike]
        outcomes = examine(tool, arguments, replace(order, wanted=wanted))
        kept |= {(outcome.test, wanted): outcome for outcome in outcomes}
        if (item.nodeid, wanted) not in kept:  # the process was lost before it had collected its tests
            own = arguments[alike.index(item)]
            kept[item.nodeid, wanted] = (outcomes if len(alike) == 1 else examine(tool, [own], order))[0]
    return [kept[item.nodeid, wanted]]


def _asks(item: pytest.Item, wanted: Sanitize) -> bool:
    asked = gates_of(item).sanitize
    return asked is not None and wanted.tools[0] in asked.tools and replace(asked, tools=wanted.tools) == wanted


def _not_run(reason: str, required: bool) -> dict[str, Any]:
    return {"verdict": "SKIP", "reason": reason, "required": required, "runs": []}


def _arguments(config: pytest.Config) -> tuple[str, ...]:
    """What makes the child collect as this session did: its root, ini file, plugins and overridden ini values.

    Nothing is deselected, and xdist starts no workers, whatever the ini file says.
    """
    arguments = [f"--rootdir={config.rootpath}", "-m", "", "-k", ""]
    if config.inipath is not None:
        arguments += ["-c", str(config.inipath)]
    for plugin in config.getoption("plugins") or ():
        arguments += ["-p", str(plugin)]
    for override in config.getoption("override_ini") or ():
        arguments += ["-o", str(override)]
    if config.pluginmanager.hasplugin("xdist"):
        arguments += ["-n0"]
    return tuple(arguments)


def _environment(options: Options, device: Device) -> dict[str, str]:
    """This session's options as far as they reach a launch; the variables take the place of those it was given."""
    values = {
        "device": device.torch_device if device.torch_device.startswith("cuda") else None,
        "timeout": options.timeout,
        "arch": options.arch,
    }
    return {f"KGATE_{name.upper()}": str(value) for name, value in values.items() if value is not None}
