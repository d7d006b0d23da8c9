"""The `kgate` command: the table of its verbs. A verb's module has `add_arguments(parser)` and `run(options)`."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from pytest_kgate import __version__
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.errors import shown

_BAD_USAGE = 2

_INTERRUPTED = 130
"""As shells report a process that Ctrl-C ended."""


class _Verb(NamedTuple):
    """One row of the table."""

    module: str
    """Imported only where the verb is asked for."""
    line: str
    """In `kgate --help`."""
    has_session: bool = False
    """Whether it starts a session of pytest, and takes the plugin's options, too: all but the module's OWN_OPTIONS."""


_VERBS = {
    "report": _Verb(
        "pytest_kgate.report.verbs.report",
        "all gates of one or several files of records, as one table",
    ),
    "rank": _Verb(
        "pytest_kgate.report.verbs.rank",
        "candidates on one problem in their order, with who can't be told apart",
    ),
    "verify": _Verb(
        "pytest_kgate.validation.receipts.verify",
        "hold recorded sessions to a policy, and signed ones to their samples; 1 if a rule is broken",
    ),
    "sign": _Verb(
        "pytest_kgate.validation.receipts.sign",
        "sign recorded sessions with an SSH key, for `kgate verify --signed`",
    ),
    "history": _Verb(
        "pytest_kgate.report.verbs.history",
        "what gates found over time, drawn; and a branch by which machines share that",
    ),
    "bisect": _Verb(
        "pytest_kgate.evaluation.verb.bisect.command",
        "the first commit at which a test's kernel was as slow as now; 1 where none was found",
    ),
    "show": _Verb(
        "pytest_kgate.report.verbs.show",
        "the records of one test, in full",
    ),
    "simulate": _Verb(
        "pytest_kgate.validation.simulate.command",
        "the gate's error rates on made-up noise, where the truth is known",
    ),
    "simulate-search": _Verb(
        "pytest_kgate.search.course.simulation.command",
        "what searches claim and find on made-up noise, where the truth is known; 1 if beyond its limit",
    ),
    "calibrate": _Verb(
        "pytest_kgate.validation.calibrate.command",
        "measure how often gates on this device lie; 1 if too often",
    ),
    "roofline": _Verb(
        "pytest_kgate.bench.race.speed_of_light.command",
        "what this device attains: the measured roofline of `speed_of_light` gates",
    ),
    "selftest": _Verb(
        "pytest_kgate.bench.correctness.command",
        "ask whether the checks of your tests find wrong kernels; 1 if one lives",
    ),
    "evaluate": _Verb(
        "pytest_kgate.evaluation.verb.command",
        "judge a candidate by a test of yours, as JSON for programs; 1 if it does not pass",
        has_session=True,
    ),
    "watch": _Verb(
        "pytest_kgate.evaluation.verb.watch.command",
        "judge a test anew whenever its file, its kernels or their headers are saved; Ctrl-C ends it",
    ),
    "search": _Verb(
        "pytest_kgate.search.verbs.search",
        "the fastest of a test's configurations, confirmed on fresh processes; 1 where none was",
    ),
    "leaderboard": _Verb(
        "pytest_kgate.search.verbs.leaderboard",
        "what a search has found so far: estimates, its champion; 1 where there is none",
    ),
    "confirm": _Verb(
        "pytest_kgate.search.verbs.confirm",
        "confirm another candidate of a search, at half the error rate of the one before; 1 if it does not pass",
    ),
    "prompt": _Verb(
        "pytest_kgate.search.verbs.prompt",
        "what is known of a kernel, as a prompt for who writes the next one",
    ),
    "measure": _Verb(
        "pytest_kgate.evaluation.apart.measure_command",
        "the latency of one kernel, or of PyTorch's SDPA, by itself",
    ),
    "gate": _Verb(
        "pytest_kgate.evaluation.apart.gate_command",
        "judge two measurements, or recorded races by another demand; 1 if one does not pass",
    ),
    "kernelbench": _Verb(
        "pytest_kgate.bench.published.kernelbench",
        "judge a solution of a KernelBench problem; 1 if it is wrong or too slow",
        has_session=True,
    ),
    "flashinfer-bench": _Verb(
        "pytest_kgate.bench.published.flashinfer_bench",
        "the same of a flashinfer-bench definition with a workload",
        has_session=True,
    ),
    "task-folder": _Verb(
        "pytest_kgate.bench.published.task_folder",
        "the same of a task of gpu-mode/reference-kernels",
        has_session=True,
    ),
    "system": _Verb(
        "pytest_kgate.validation.machine.show",
        "`kgate system show`: is this machine fit for gates, and what does each finding cost; 2 if not",
    ),
    "smoke": _Verb(
        "pytest_kgate.validation.machine.smoke",
        "in some ten seconds: does this machine build, check, time, and tell right from wrong; 1 if not",
    ),
    "lock": _Verb(
        "pytest_kgate.evaluation.lock.command",
        "write versions of packages, driver, compilers, GPU and options, which `pytest --kgate-locked` compares",
    ),
    "oracle": _Verb(
        "pytest_kgate.validation.oracle.command",
        "honest and wrong attention over a grid of shapes; 1 if one is misjudged",
    ),
    "integrity": _Verb(
        "pytest_kgate.validation.cheats.command",
        "run candidates that cheat against the gate; 1 if one gets through",
    ),
    "build": _Verb(
        "pytest_kgate.build.verbs.command",
        "compile shipped kernels ahead of the tests, or time how long that takes",
    ),
    "sanitize": _Verb(
        "pytest_kgate.profile.sanitizer.command",
        "run tests' kernels under compute-sanitizer; 1 if it finds anything",
    ),
    "insights": _Verb(
        "pytest_kgate.profile.insights.command",
        "the rules by which findings are made of hardware counters",
    ),
    "profile": _Verb(
        "pytest_kgate.profile.nsight.command.command",
        "tests' candidates beside their references under Nsight Compute; 1 if some can't be counted",
    ),
    "metrics": _Verb(
        "pytest_kgate.profile.nsight.metrics.command",
        "the short names of hardware counters, for `metrics` markers",
    ),
    "impls": _Verb(
        "pytest_kgate.build.verbs.impls",
        "the shipped kernels and their knobs",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns the exit status: 0, 1 where gates or error rates miss what was asked for, 2 after an error that the user can
    act on, 130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that a terminal can't show ends no report
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["selftest"] and not {"-h", "--help"} & set(arguments):
        arguments.insert(1, "--")  # all that follows is pytest's
    options = argparse.Namespace()
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in _VERBS:
            raise UsageError(
                f"`kgate` has no verb {shown(arguments[0])}.{hint(arguments[0], _VERBS)}", "`kgate --help` lists them."
            )
        try:
            options, unknown = _parser(arguments).parse_known_args(arguments)
        finally:
            sys.stdout.flush()  # of --help, whose reader may have gone
        if unknown:
            raise _not_taken(unknown, next(one for one in arguments if one in _VERBS), "pytest" in options)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(_in_columns(f"kgate: {message}"), file=sys.stderr)
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KgateError as error:
        # A verb with a device of its own calls pytest's option so.
        todo = error.todo.replace("--kgate-device", "--device") if "device" in options else error.todo
        print(_in_columns(f"kgate: {error.what}"), _in_columns(todo), sep="\n", file=sys.stderr)
        return _BAD_USAGE
    except KeyboardInterrupt:
        print("kgate: interrupted. What it had written to files stays there.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # `kgate report FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _not_taken(unknown: Sequence[str], verb: str, hands_on: bool) -> UsageError:
    """The error for arguments that the verb has no use for; `hands_on` says whether it starts pytest with others."""
    todo = f"`kgate {verb} --help` lists what it takes."
    if hands_on and unknown[0].startswith("--"):
        value = f"={unknown[1]}" if len(unknown) > 1 and "=" not in unknown[0] and unknown[1][:1] != "-" else ""
        todo = f"If it is pytest's, write {shlex.quote(f'--pytest={unknown[0]}{value}')}. {todo}"
    return UsageError(f"`kgate {verb}` does not take {shlex.join(unknown)}.{_near(unknown[0])}", todo)


def _near(unknown: str) -> str:
    """Which of the plugin's options a misspelt one may mean."""
    from pytest_kgate.evaluation.options.options import OPTIONS

    name, flags = unknown.partition("=")[0], [option.flag for option in OPTIONS]
    return hint(name, flags) if name.startswith("--kgate-") and name not in flags else ""


def _in_columns(said: str) -> str:
    """Sentences in the terminal's columns; as they are where none shows them, and of a compiler's several lines."""
    from pytest_kgate.report.text.render import usual_columns  # here, since most verbs say nothing
    from pytest_kgate.report.text.render import wrapped

    return said if "\n" in said or not sys.stderr.isatty() else "\n".join(wrapped(said, usual_columns()))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kgate",
        description="Read what pytest-kgate recorded, list what it can build, measure how far it can be trusted.",
    )
    parser.add_argument("--version", action="version", version=f"pytest-kgate {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    for name, verb in _VERBS.items():
        its_parser = verbs.add_parser(name, help=verb.line)
        if name in arguments:
            command = importlib.import_module(verb.module)
            command.add_arguments(its_parser)
            its_parser.description = its_parser.description or _sentence(verb.line)
            if verb.has_session:
                handed_on = importlib.import_module("pytest_kgate.evaluation.options.handed_on")
                handed_on.add(its_parser, command.OWN_OPTIONS)
            its_parser.set_defaults(run=command.run)
    return parser


def _sentence(line: str) -> str:
    """What stands at a verb in the list of all, as its own help says it."""
    return f"{line[0].upper()}{line[1:]}.".replace("; 1 ", ". The exit status is 1 ")


if __name__ == "__main__":
    raise SystemExit(main())
