"""`kgate profile`: tests' candidates beside their references under Nsight Compute, without a race."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.bench.race.speed_of_light.kept import identity_of
from pytest_kgate.bench.race.speed_of_light.kept import lookup
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.nsight.collection import refusals
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import CountedTest
from pytest_kgate.profile.nsight.collection.collect import collect
from pytest_kgate.profile.nsight.collection.page import PROGRAM
from pytest_kgate.profile.nsight.command.account import Account
from pytest_kgate.profile.nsight.command.account import accounts_of
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.program import not_found
from pytest_kgate.profile.under_tool.session import ToolSession
from pytest_kgate.profile.under_tool.session import environment_like
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.system.folders.scratch import scratch
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_kgate.device.protocol import Device

_NOT_COUNTED = 1

_RULES_SET = "detailed"
"""The smallest set whose sections have rules on memory, occupancy and the source."""

_WAIT_SECONDS = 600.0
"""For another process that times on this GPU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("tests", nargs="+", metavar="TEST", help="node ids, files or folders, as pytest takes them")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only tests whose names match, as in pytest")
    parser.add_argument("--pytest", default="", metavar="ARGS", help="more arguments for pytest, as one word")
    parser.add_argument("--device", default="cuda", metavar="cuda:N", help="the GPU; default: the first")
    parser.add_argument("--cold", action="store_true", help="empty the GPU's caches before each pass")
    parser.add_argument("--all", action="store_true", help="show metrics that are 0, too, and what each means")
    parser.add_argument("--rules", action="store_true", help="show what Nsight Compute's own rules say of each launch")
    parser.add_argument(
        "--source",
        action="store_true",
        help="show the source lines at which most warps wait (instructions, without the package ncu-report)",
    )
    parser.add_argument("--set", metavar="SET", help="collect this set of Nsight Compute's sections as well")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the report, a file .ncu-rep for its window")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write records with the counters to this file")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long it may take; default: 600"
    )


def run(options: argparse.Namespace) -> int:
    """Count, show, keep. Returns 1 where something could not be counted."""
    if options.timeout <= 0:
        raise UsageError(f"--timeout cannot be {options.timeout:g}.", "It takes a positive number of seconds.")
    if not re.fullmatch(r"cuda(:\d+)?", options.device):
        raise UsageError(f"--device cannot be {options.device}.", "Counters are of a GPU: cuda, or cuda:1.")
    if options.keep is not None and (options.keep.suffix != ".ncu-rep" or not options.keep.parent.is_dir()):
        raise UsageError(f"--keep cannot be {options.keep}.", "It takes a file with the ending .ncu-rep, in a folder.")
    program = find_program(PROGRAM)
    if program is None:
        raise ToolchainMissing(f"{not_found(PROGRAM)}.", "Install Nsight Compute, or put it on PATH.")
    denied = refusals.denied()
    if denied is not None:
        what, _, todo = denied.partition(". ")
        raise KgateError(f"{what}.", todo)
    try:
        device = open_device(options.device)
    except DeviceMissing as error:
        raise DeviceMissing(error.what, "Counters are of a GPU: run this where there is one.") from None
    with scratch("profile") as folder:
        report = options.keep or Path(folder) / "counters.ncu-rep"
        return _profile(options, _collection(options, program, report.absolute(), device), device)


def _collection(options: argparse.Namespace, program: Path, report: Path, device: Device) -> Collection:
    workers = ["-n0"] if importlib.util.find_spec("xdist") else []
    return Collection(
        program=program,
        metrics=raw_names(METRICS, _arch(device)),
        session=ToolSession(
            Path.cwd(),
            ("-m", "", "-k", options.k, *workers, *shlex.split(options.pytest)),
            environment_like(device, options.timeout, None, debug=False),
            timeout_seconds=options.timeout,
        ),
        cache_control="all" if options.cold else "none",
        section_set=options.set or (_RULES_SET if options.rules else None),
        report=report,
        source=options.source,
    )


def _profile(options: argparse.Namespace, how: Collection, device: Device) -> int:
    environment = device.environment()
    lease = environment.get("gpu", {}).get("uuid", device.kind)
    with leased(lease, _WAIT_SECONDS, lambda who: print(f"kgate: {who}", file=sys.stderr)):
        found = collect(options.tests, how)
    if not found:
        raise UsageError(
            f"pytest found no test to profile in {' '.join(options.tests)}.", "Name tests that use the kbench fixture."
        )
    rates = lookup(identity_of(environment))
    kept: list[Account] = []
    for test in found.values():
        accounts = accounts_of(test, how, _arch(device))
        kept += accounts
        for account in accounts:
            shown = account.lines(rates, everything=options.all, rules=options.rules, source=options.source)
            print("\n".join(shown), "\n", sep="", flush=True)
        if not accounts:
            print(f"{test.test or 'all tests'}\n  not measured: {test.reason}\n", flush=True)
    if options.json is not None:
        _save(options.json, kept)
    return 0 if all(_whole(test) for test in found.values()) else _NOT_COUNTED


def _whole(test: CountedTest) -> bool:
    """Whether every call of the test was counted."""
    counted = {one.call for one in test.calls if one.arm == "candidate" and one.launches}
    return not test.reason and set(test.records) <= counted


def _arch(device: Device) -> str:
    capability = device.environment().get("gpu", {}).get("capability", "9.0")
    return f"sm_{str(capability).replace('.', '')}"


def _save(path: Path, accounts: Iterable[Account]) -> None:
    file = RecordFile(path)
    for account in accounts:
        file.append(account.record)
    for message in file.close():
        print(f"kgate: {message}", file=sys.stderr)
