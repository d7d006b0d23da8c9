"""`kgate watch`: judge a test anew whenever a file that it depends on is saved."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from typing import NoReturn

from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.verb.outcome import answer_of
from pytest_kgate.evaluation.verb.session import Asked
from pytest_kgate.evaluation.verb.session import Started
from pytest_kgate.evaluation.verb.session import judged
from pytest_kgate.evaluation.verb.watch import files
from pytest_kgate.evaluation.verb.watch.fork import Fork
from pytest_kgate.evaluation.verb.watch.line import named
from pytest_kgate.evaluation.verb.watch.line import of_run
from pytest_kgate.evaluation.verb.watch.modules_noted import ModulesNoted
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.search.verbs.arguments import add_pytest
from pytest_kgate.system.folders.scratch import scratch
from pytest_kgate.system.pytorch import require_torch
from pytest_kgate.validation.cheats import session_modules

_LIMIT_SECONDS = 120.0

_POLL_SECONDS = 0.1
"""Between two looks at the files. It is times that are read, since no message of a save comes from a machine that has
the files on a disk of its own (NFS, sshfs)."""

_QUICK = ("--kgate-budget=3", "--kgate-integrity=off")
"""A verdict is to be there in some five seconds. What a candidate does beside its answer is not looked at, and no clean
process looks at a pass: that takes seconds, is no question while one writes a kernel of one's own, and is seen by
PyTorch's profiler, which sees no kernels in a fork."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Judge a test now, and anew whenever a file is saved that it depends on: the test's own file and the modules "
        "that it imports, the sources of its kernels with their headers, files beside these, conftest.py and ini "
        "files above. A line for each run says verdict and ratio, and why where it does not pass. What a candidate "
        "does beside its answer is not looked at (`pytest -m perf` does that). Ctrl-C ends it."
    )
    parser.add_argument("test", metavar="NODEID", help="the test, as pytest takes it")
    parser.add_argument(
        "--time-limit", metavar="SECONDS", default=f"{_LIMIT_SECONDS:g}", help="of a run; default: %(default)s"
    )
    add_pytest(parser, "--kgate-budget=3")


def run(options: argparse.Namespace) -> int:
    """Watch until Ctrl-C; returns 0 then."""
    limit = BY_NAME["timeout"].value(options.time_limit, "--time-limit")
    if sys.platform != "linux":
        raise UsageError("`kgate watch` ends what candidates leave by means of Linux.", "Use pytest there.")
    path = Path(options.test.partition("::")[0]).absolute()
    if not path.exists():
        raise UsageError(f"There is no file {path}.", "Name the test as pytest takes it: tests/test_mine.py::test_it.")
    arguments = (f"--kgate-timeout={limit / 2:g}", *_QUICK, *options.pytest)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    print(f"Judging {options.test} at each save; Ctrl-C ends it.", flush=True)
    try:
        require_torch()
        session_modules.prepare_forks()
        _Watch(Asked(None, options.test, arguments, limit), path).go_on()
    except KeyboardInterrupt:
        print()
        return 0


def _end(number: int, _frame: object) -> NoReturn:
    """As any other end of this process: whatever was started ends with it."""
    raise SystemExit(128 + number)


class _Saved(Exception):
    """A file was saved while a run went on."""


class _Watch:
    """The runs of one test, and the files that they depend on."""

    def __init__(self, asked: Asked, path: Path) -> None:
        self._asked = asked
        self._known = {path}
        """The test's file; modules, sources and headers of the runs so far."""
        self._folders = {path if path.is_dir() else path.parent}
        """Of the test and of its kernels."""
        self._above = files.above(path.parent)
        self._stamps: files.Stamps = {}
        """Of all files, as the last run has found them."""

    def go_on(self) -> NoReturn:
        """Run, wait for a save, and so on."""
        saved: list[Path] = []
        while True:
            start = time.monotonic()
            self._stamps = files.settled(self._look, _pause)
            try:
                self._run(start, saved)
            except _Saved:
                print(f"{_clock()}  saved while it was judged: begun anew", flush=True)
            while not (saved := files.changed(self._stamps, self._look())):
                _pause()

    def _run(self, start: float, saved: Sequence[Path]) -> None:
        begun_ns = time.time_ns()
        with scratch("watch") as folder:
            notes = ModulesNoted(Path(folder, "modules.json"))

            def fork(arguments: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> Started:
                return Fork(arguments, environment, output, [notes], self._stop_if_saved)

            ended = judged(self._asked, fork)
            new = self._learn([Path(build["source"]) for build in ended.builds], notes.read(), begun_ns)
        answer = answer_of(ended, self._asked.limit_seconds)
        print(of_run(answer, ended, _clock(), time.monotonic() - start, saved, usual_columns()), flush=True)
        if new:
            print(f"Watching {named(path for path, stamp in self._stamps.items() if stamp)}.", flush=True)

    def _look(self) -> files.Stamps:
        return files.stamps({*self._known, *self._above, *files.beside(self._folders)})

    def _stop_if_saved(self) -> None:
        if files.changed(self._stamps, self._look()):
            raise _Saved

    def _learn(self, sources: Sequence[Path], modules: Sequence[Path], begun_ns: int) -> bool:
        """Watch what a run has read, too: as it is now, or as changed where it was saved since the run began.

        Whether there is anything that was not watched before.
        """
        self._folders |= {source.parent for source in sources if not source.is_relative_to(csrc_directory())}
        self._known |= {*modules, *(file for source in sources for file in files.with_headers(source))}
        new = {path: stamp for path, stamp in self._look().items() if path not in self._stamps}
        as_read = {path: None if stamp is None or stamp[0] >= begun_ns else stamp for path, stamp in new.items()}
        self._stamps = {**self._stamps, **as_read}
        return bool(new)


def _pause() -> None:
    time.sleep(_POLL_SECONDS)


def _clock() -> str:
    return time.strftime("%H:%M:%S")
