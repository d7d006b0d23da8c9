"""`kgate evaluate`: one candidate in the place of a test's own, judged by that test in a process that is limited."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NoReturn

from pytest_kgate.build.registry import is_source
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.verb import feedback
from pytest_kgate.evaluation.verb.outcome import answer_of
from pytest_kgate.evaluation.verb.outcome import exit_status
from pytest_kgate.evaluation.verb.outcome import misuse
from pytest_kgate.evaluation.verb.session import Asked
from pytest_kgate.evaluation.verb.session import judged
from pytest_kgate.integrity.isolation.process.judge.kept_out import demand_own_name
from pytest_kgate.report.record.values import plain
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.search.verbs.arguments import add_pytest
from pytest_kgate.system import json_file
from pytest_kgate.system.child_process import stop_with_parent

if TYPE_CHECKING:
    from pytest_kgate.evaluation.verb.answer import Evaluation
    from pytest_kgate.evaluation.verb.session import Ended

_LIMIT_SECONDS = 600.0

OWN_OPTIONS = ("until", "rounds", "knob", "isolate", "candidate", "json")
"""The plugin's options that the verb has itself, or that say where its session hands it the records."""

_TERMINATED = 143
"""As shells report a process that SIGTERM ended."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Judge a candidate by a test, which hands kbench this one in the place of its own (its own where none is "
        "named), with its problem, its markers and its options. The exit status is 0 where it passes, 1 where it does "
        "not, 2 where it was not judged and is not at fault, 75 where another process kept the device."
    )
    parser.add_argument(
        "file",
        metavar="FILE[:NAME]",
        nargs="?",
        help="a kernel's source (.cu, .cpp), a function of a Python file (new.py:attention), or a solution of a "
        "published problem (new.py)",
    )
    parser.add_argument("--test", metavar="NODEID", help="the test that judges, as pytest takes it")
    parser.add_argument(
        "--until",
        "--kgate-until",
        metavar="STEP",
        default="time",
        help="the last step: build, check or time; default: %(default)s",
    )
    parser.add_argument(
        "--rounds",
        "--kgate-rounds",
        metavar="N",
        help="measure only: race exactly N rounds, which is quick, and judge no gate",
    )
    parser.add_argument(
        "--knob",
        "--kgate-knob",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a knob of the candidate, or of the test's fixture knobs; once for each",
    )
    parser.add_argument(
        "--isolate",
        "--kgate-isolate",
        action="store_true",
        help="run the candidate in a process of its own: for code you don't trust",
    )
    parser.add_argument(
        "--time-limit",
        metavar="SECONDS",
        default=f"{_LIMIT_SECONDS:g}",
        help="for all of it, a shorter one with half of it for one check or one round; default: %(default)s",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the answer as JSON to FILE; - prints it, and nothing else"
    )
    add_pytest(parser, "--tb=long")


def run(options: argparse.Namespace) -> int:
    """Judge; prints the answer, and returns 0, 1, 2 or 75."""
    try:
        ended, limit = _ended(options)
        answer = answer_of(ended, limit)
        in_words = options.json != "-"
        shown = answer_of(ended, limit, usual_columns())["feedback"] if in_words else ""
    except KgateError as error:
        answer = misuse(f"{error.what}\n{error.todo}".rstrip())
        shown = answer["feedback"]
    except SystemExit:
        answer = misuse("It was ended by a signal (SIGTERM), and judged nothing.")
        with contextlib.suppress(OSError):  # whoever reads it may have gone
            _tell(answer, answer["feedback"], options)
            sys.stdout.flush()
        raise
    _tell(answer, shown, options)
    return exit_status(answer)


def _tell(answer: Evaluation, shown: str, options: argparse.Namespace) -> None:
    """As JSON, or in words: those are `shown`, the feedback for a terminal."""
    text = json.dumps(plain(answer), allow_nan=False)
    if options.json == "-":
        print(text)
    else:
        if options.json is not None:
            json_file.save(Path(options.json), text + "\n")
        print(f"{answer['verdict']}, score {answer['score']:.3g}\n{feedback.in_columns(shown, usual_columns())}")


def _end(*_: object) -> NoReturn:
    """As any other end of this process: whatever was started ends with it."""
    raise SystemExit(_TERMINATED)


def _ended(options: argparse.Namespace) -> tuple[Ended, float]:
    """The session, and its limit in seconds."""
    limit = BY_NAME["timeout"].value(options.time_limit, "--time-limit")
    BY_NAME["until"].value(options.until, "--until")
    if not options.test:
        raise UsageError("--test is missing.", "Name the test that judges: --test tests/test_mine.py::test_it.")
    if sys.platform != "linux":
        raise UsageError("`kgate evaluate` ends what candidates leave by means of Linux.", "Use pytest there.")
    where = None if options.file is None else _candidate(options.file)
    if where is not None and (options.isolate or BY_NAME["isolate"].variable_set(os.environ)):
        demand_own_name(where if Path(where).is_file() else where.rpartition(":")[0], Path.cwd())
    arguments = [f"--kgate-until={options.until}", *["--kgate-isolate"] * options.isolate]
    if options.rounds is not None:
        BY_NAME["rounds"].value(options.rounds, "--rounds")
        if options.until != "time":
            raise UsageError(
                f"--rounds cannot go with --until {options.until}, which races nothing.", "Use one of them."
            )
        arguments.append(f"--kgate-rounds={options.rounds}")
    if options.knob:
        BY_NAME["knob"].value(" ".join(options.knob), "--knob")
        arguments += [f"--kgate-knob={one}" for one in options.knob]
    if limit < _LIMIT_SECONDS:  # else what the test and its options say of one step fits in
        arguments.append(f"--kgate-timeout={limit / 2:g}")
    arguments += [*options.handed_on, *options.pytest]
    before = signal.signal(signal.SIGTERM, _end)
    try:
        stop_with_parent()
        return judged(Asked(where, options.test, tuple(arguments), limit)), limit
    finally:
        signal.signal(signal.SIGTERM, before)


def _candidate(file: str) -> str:
    """As --kgate-candidate takes it, from any folder; raises `UsageError` for what can be none."""
    path, _, name = (file, "", "") if Path(file).is_file() else file.rpartition(":")
    if not path:  # no colon
        path, name = name, ""
    if not Path(path).is_file():
        raise UsageError(f"There is no file {path}.", "Give the file of a candidate.")
    if not path.endswith((".py", ".json")) and not is_source(path):  # pytest would take it for a module's name
        raise UsageError(f"{path} is named as no candidate is.", "Give a Python file (.py) or a kernel's source (.cu).")
    return str(Path(path).absolute()) + (f":{name}" if name else "")
