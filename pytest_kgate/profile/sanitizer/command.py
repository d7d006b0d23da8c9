"""`kgate sanitize`: tests under compute-sanitizer, all of them in one process a tool while nothing is found.

With `--jobs` several processes run side by side, one for each tool and each file or test that was named.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import shlex
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from pytest_kgate.device.open import open_device
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.sanitizer.asked import Sanitize
from pytest_kgate.profile.sanitizer.run import Examined
from pytest_kgate.profile.sanitizer.run import ToolRun
from pytest_kgate.profile.sanitizer.run import examine
from pytest_kgate.profile.sanitizer.tools import PROGRAM
from pytest_kgate.profile.sanitizer.tools import TOOLS
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.program import not_found
from pytest_kgate.profile.under_tool.session import ToolSession
from pytest_kgate.report.format import counted
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import plain
from pytest_kgate.system import json_file
from pytest_kgate.system.provenance.environment import session_environment

SCHEMA = "pytest-kgate/sanitizer"
VERSION = 1

_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "tests",
        nargs="*",
        metavar="TEST",
        help="node ids, files or folders, as pytest takes them; default: all tests with a sanitize marker",
    )
    parser.add_argument(
        "--tool", action="append", choices=TOOLS, help="one of the tools; may be repeated; default: all four"
    )
    parser.add_argument("--kernels", metavar="PART", help="watch only kernels with this in their name")
    parser.add_argument(
        "--full-size", action="store_true", help="run each problem as it is, also where it has a smaller one"
    )
    parser.add_argument("--pytest", default="", metavar="ARGS", help="more arguments for pytest, as one word")
    parser.add_argument(
        "--jobs",
        "-j",
        type=int,
        default=1,
        metavar="N",
        help="run so many processes side by side, one tool on one TEST each; default: 1, tool after tool on all",
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long one process may take; default: 600"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write what was found to this file")


def run(options: argparse.Namespace) -> int:
    """Run, show, keep. Returns 1 where a tool found something, or could not look."""
    if options.timeout <= 0:
        raise UsageError(f"--timeout cannot be {options.timeout:g}.", "It takes a positive number of seconds.")
    if options.jobs < 1:
        raise UsageError(f"--jobs cannot be {options.jobs}.", "It takes a number of processes, 1 or more.")
    try:
        wanted = Sanitize(tuple(options.tool or TOOLS), options.kernels, options.full_size)
    except ValueError as error:
        raise UsageError(f"{error}.", "`kgate sanitize --help` shows what it takes.") from None
    program = find_program(PROGRAM)
    if program is None:
        raise ToolchainMissing(f"{not_found(PROGRAM)}.", "Put it on PATH, or set CUDA_HOME to a toolkit that has it.")
    session = ToolSession(Path.cwd(), _arguments(options), timeout_seconds=options.timeout)
    run = ToolRun(program, wanted, session)
    started = now()
    groups = [[test] for test in options.tests] if options.jobs > 1 and options.tests else [options.tests]
    found: dict[tuple[str, int], list[Examined]] = {}
    outcomes: list[Examined] = []
    environment: dict[str, Any] = {}
    for tool, group, examined in _examined(run, groups, options.jobs):
        found[tool, group] = examined
        outcomes = [one for key in itertools.product(wanted.tools, range(len(groups))) for one in found.get(key, ())]
        if all((tool, other) in found for other in range(len(groups))):
            _show(tool, [one for one in outcomes if one.tool == tool])
        if options.json is not None and examined:  # at once, as the next may take minutes, or be broken off
            environment = environment or _environment()
            _save(options.json, document(outcomes, started, environment))
    if not outcomes:
        raise UsageError(
            f"pytest found no test to watch in {' '.join(options.tests) or 'this folder'}.",
            "Name tests that use the kbench fixture, or give tests the marker sanitize.",
        )
    return 0 if all(one.verdict == "PASS" for one in outcomes) else _FOUND


def _arguments(options: argparse.Namespace) -> tuple[str, ...]:
    chosen = ["-m", "" if options.tests else "sanitize", "-k", ""]
    workers = ["-n0"] if importlib.util.find_spec("xdist") else []
    return (*chosen, *workers, *shlex.split(options.pytest))


def _examined(run: ToolRun, groups: Sequence[Sequence[str]], jobs: int) -> Iterator[tuple[str, int, list[Examined]]]:
    """What each tool found in each group of tests, as they end: tool, number of the group, outcomes."""
    with ThreadPoolExecutor(jobs) as pool:
        runs = {
            pool.submit(examine, tool, tests, run): (tool, group)
            for tool in run.wanted.tools
            for group, tests in enumerate(groups)
        }
        try:
            for done in as_completed(runs):
                yield *runs[done], done.result()
        except BaseException:
            run.session.stopped.set()  # else the pool would wait for children that nobody wants any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _show(tool: str, found: Sequence[Examined]) -> None:
    print(f"{tool}: {_summary(found)}", flush=True)
    for one in found:
        if one.verdict != "PASS":
            print(f"  {one.verdict} {one.test}\n    {one.reason}", flush=True)


def _summary(found: Sequence[Examined]) -> str:
    if not found:
        return "no tests"
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in ("PASS", "FAIL", "ERROR", "SKIP")}
    words = {"PASS": "clean", "FAIL": "with findings", "ERROR": "not examined to the end", "SKIP": "skipped"}
    shown = ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)
    warnings = max(one.report.warnings for one in found)
    return (
        shown
        + (f"; {counted(warnings, 'warning')}" if warnings else "")
        + f" ({max(one.seconds for one in found):.0f} s)"
    )


def document(outcomes: Iterable[Examined], started: str, environment: dict[str, Any]) -> dict[str, Any]:
    """The file that --json writes: one entry for each test and tool."""
    entries = [{"test": one.test, **one.to_dict()} for one in outcomes]
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "started": started,
        "environment": environment,
        "outcomes": plain(entries),
    }


def _environment() -> dict[str, Any]:
    """Versions, and the GPU where there is one to be opened."""
    environment = session_environment(Path.cwd())
    try:
        return {**environment, **open_device("cuda:0").environment()}
    except KgateError as error:
        return {**environment, "device": error.what}


def _save(path: Path, content: dict[str, Any]) -> None:
    try:
        json_file.replace(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        print(f"kgate: {path} can't be written: {error.strerror}", file=sys.stderr)
