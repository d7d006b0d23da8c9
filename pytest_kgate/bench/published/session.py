"""A published problem and a solution, judged by a pytest session of a single test: what the verbs for them share."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

_TEST = """
import pytest

@pytest.mark.speedup({bound!r})
def test_{kind}(kbench, published_call):
    kbench(*published_call)
"""

COMMAND = pytest.StashKey[list[str]]()
"""In the session's config: the command that judges the solution again, since the session's test is gone by then."""

OWN = ("isolate", "device", "timer", "budget", "json", "seed")
"""The plugin's options that these verbs have under shorter names, too."""

_JUDGED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)

_FILES = (".py", ".json")


def add_arguments(parser: argparse.ArgumentParser, solution: str) -> None:
    """The solution, and the options of all verbs for published problems; `solution` says what a solution is."""
    parser.add_argument("solution", nargs="?", metavar="SOLUTION", help=f"{solution}; default: a copy of the reference")
    parser.add_argument(
        "--bound", type=float, default=0.95, metavar="RATIO", help="of the latencies; default: %(default)s"
    )
    parser.add_argument(
        "--isolate",
        "--kgate-isolate",
        action="store_true",
        help="run the solution in a process of its own: for code you don't trust",
    )
    parser.add_argument(
        "--device", "--kgate-device", default="auto", metavar="DEVICE", help="auto, cuda, cuda:N or host"
    )
    parser.add_argument(
        "--timer", "--kgate-timer", default="auto", metavar="TIMER", help="auto, graph, queue, eager or wall"
    )
    parser.add_argument(
        "--budget", "--kgate-budget", type=float, default=10.0, metavar="SECONDS", help="of the race; default: 10"
    )
    parser.add_argument(
        "--json", "--kgate-json", metavar="FILE", help="write the record to FILE; - prints it, and nothing else"
    )
    parser.add_argument("--seed", "--kgate-seed", metavar="N", help="of inputs and order; default: a new one")


def run(
    options: argparse.Namespace, problem: Callable[[], Problem], verb: str, files: list[str], which: list[str]
) -> int:
    """Run the session; returns 0 where the solution is right and below the bound, else 1.

    `files` and the options `which` name the problem on the command line of `verb`. Raises `UsageError` where a file is
    none of the kind, an option makes no sense, or no solution could be judged: the problem fails, or there is no GPU.
    """
    if not 0 < options.bound < float("inf"):
        raise UsageError(f"--bound cannot be {options.bound:g}.", "It takes a positive ratio, such as 0.95.")
    if options.isolate and options.solution is None:
        raise UsageError("--isolate needs a solution.", "Name its file after the problem's.")
    given = None if options.solution is None else _file(options.solution)
    read = problem()
    assert read.published is not None
    candidate: Callable[..., Any] | str = given or read.published.copy()
    with scratch("published") as folder:
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        test = Path(folder, "test_solution.py")
        sys.modules.pop(test.stem, None)  # of an earlier call in this process; pytest would take it for this one
        test.write_text(_TEST.format(bound=options.bound, kind=read.published.kind))
        solution = [] if options.solution is None else [options.solution]
        call = _Call(candidate, read, ["kgate", verb, *files, *solution, *which, *_given(options)])
        records = Path(folder, "records.json") if options.json == "-" else options.json
        # Whoever wants the record printed gets it alone; what pytest says goes to the other stream.
        with contextlib.redirect_stdout(sys.stderr) if options.json == "-" else contextlib.nullcontext():
            status = pytest.main([str(test), *_arguments(options, folder, records)], [call])
        if options.json == "-" and Path(folder, "records.json").is_file():
            sys.stdout.write(Path(folder, "records.json").read_text(encoding="utf-8"))
    if call.failure is not None and status in _JUDGED:
        _demand_judged(call.failure, files[0])
    if status in _JUDGED:
        return int(status)
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    raise UsageError(f"pytest could not judge a solution of {files[0]}.", "What it printed above says why.")


def _file(solution: str) -> str:
    """The candidate's name, with its file in full."""
    file, _, function = solution.rpartition(":")
    if not file.endswith(_FILES):
        file, function = solution, ""
    if not Path(file).is_file():
        raise UsageError(f"There is no file {file}.", "Give the file of a solution.")
    return f"{Path(file).resolve()}" + (f":{function}" if function else "")


def _demand_judged(failure: BaseException, file: str) -> None:
    """Raise `UsageError` where no solution is at fault for the failure of the session's test."""
    record = getattr(failure, "record", None)  # of a GateFailure
    if record is not None:
        if "at_fault" in record:
            reason = record["reason"].partition(" The traceback follows;")[0]
            raise UsageError(
                f"{file} is at fault, and no solution was judged: {reason}", "Correct the problem, or give another."
            )
    elif isinstance(failure, pytest.fail.Exception):
        what, _, todo = (failure.msg or "").partition("\n")
        raise UsageError(f"No solution of {file} was judged: {what}", todo)


def _arguments(options: argparse.Namespace, folder: str, records: str | Path | None) -> list[str]:
    # Nothing is rewritten, as the package's own modules are loaded already; the session is this process's alone.
    # Its short summary would name the test's temporary file, of which the user knows nothing.
    found = ["-q", "-rN", f"--rootdir={folder}", "--assert=plain", "--import-mode=importlib", "-p", "no:xdist"]
    found += ["-p", "no:cacheprovider", f"--kgate-device={options.device}", f"--kgate-budget={options.budget:g}"]
    found.append(f"--kgate-timer={options.timer}")
    if options.isolate:
        found.append("--kgate-isolate")
    if records is not None:
        found.append(f"--kgate-json={Path(records).resolve()}")
    if options.seed is not None:
        found.append(f"--kgate-seed={options.seed}")
    return [*found, *options.handed_on]


def _given(options: argparse.Namespace) -> list[str]:
    """The options that repeat the call, but for the seed."""
    numbers = ["--bound", f"{options.bound:g}", "--budget", f"{options.budget:g}", "--device", options.device]
    timer = ["--timer", options.timer] if options.timer != "auto" else []
    return [*numbers, *timer, *["--isolate"] * options.isolate, *options.handed_on]


class _Call:
    """A plugin whose fixture has the arguments of the session's one `kbench` call."""

    def __init__(self, candidate: Callable[..., Any] | str, problem: Problem, command: list[str]) -> None:
        self._call = (candidate, problem)
        self._command = command
        self.failure: BaseException | None = None
        """What the test, or what it needs, has raised first."""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[COMMAND] = self._command

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None and self.failure is None:
            self.failure = call.excinfo.value

    @pytest.fixture
    def published_call(self) -> tuple[Any, Problem]:
        """The candidate and the problem."""
        return self._call
