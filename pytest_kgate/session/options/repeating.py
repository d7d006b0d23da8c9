"""The command that runs one test of a session again: whatever was given stays, but for what chose the tests."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.bench.published.session import COMMAND
from pytest_kgate.evaluation.options.options import BY_NAME

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.evaluation.options.options import Options

_KEPT = ("json", "html", "history", "compare")
"""Where a session keeps what it found: another one would add to that, or take its place."""

_LEFT_OUT = (*(BY_NAME[name].flag for name in ("seed", *_KEPT)), "--junitxml", "--junit-xml")
"""A record has its own seed; and one test's records must not take the place of all tests' file, page or report."""

_INI_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")


def command_for(item: pytest.Item, options: Options) -> list[str]:
    """The program and its arguments, to be run where the session was started."""
    config = item.config
    if COMMAND in config.stash:
        return [*config.stash[COMMAND], *_of_environment(options)]
    program, given = _as_started(config)
    if options.selftest:
        program, given = ["kgate", "selftest"], [one for one in given if one != BY_NAME["selftest"].flag]
    folder = config.invocation_params.dir
    _, _, inside = item.nodeid.partition("::")
    test = os.path.relpath(item.path, folder) + (f"::{inside}" if inside else "")
    kept = _without_positionals(_without_options(given), config.getoption("file_or_dir", None) or ())
    # Ahead of all options: one whose value may be left out would take it for its value.
    return [*program, test, *kept, *_same_ini(config, item.path, folder, kept), *_of_environment(options)]


def _as_started(config: pytest.Config) -> tuple[list[str], list[str]]:
    """The program, and what it was given; a worker of xdist was told by its controller."""
    worker = getattr(config, "workerinput", None)
    argv = list(worker.get("mainargv", ())) if worker else [sys.argv[0]]
    given = argv[1:] if worker else [os.fspath(argument) for argument in config.invocation_params.args]
    # `python -m pytest` puts the current folder on the path for imports.
    as_module = bool(argv) and Path(argv[0]).name == "__main__.py"
    return (["python", "-m", "pytest"] if as_module else ["pytest"]), given


def _without_options(given: Iterable[str]) -> list[str]:
    kept, skip = [], False
    for argument in given:
        if skip or argument in _LEFT_OUT:
            skip = not skip
        elif not argument.startswith(tuple(f"{flag}=" for flag in _LEFT_OUT)):
            kept.append(argument)
    return kept


def _without_positionals(given: Sequence[str], positionals: Iterable[object]) -> list[str]:
    """Each left out as often as it chose tests, from the end: an option's value that reads the same stands before."""
    left = Counter(str(one) for one in positionals)
    kept = []
    for argument in reversed(given):
        if left[argument]:
            left[argument] -= 1
        else:
            kept.append(argument)
    return kept[::-1]


def _same_ini(config: pytest.Config, test: Path, folder: Path, given: Sequence[str]) -> list[str]:
    """Names the ini file where pytest, started with this test alone, could take another one that is nearer to it."""
    inipath = config.inipath
    named = any(argument == "-c" or argument.startswith(("-c", "--config-file")) for argument in given)
    if inipath is None or named:
        return []
    nearer = [parent for parent in test.parents if inipath.parent in parent.parents]
    if not any((parent / name).is_file() for parent in nearer for name in _INI_FILES):
        return []
    return ["-c", os.path.relpath(inipath, folder)]


def _of_environment(options: Options) -> list[str]:
    """Options that environment variables have set, as flags: the next shell may lack the variables."""
    flags = []
    for name, source in options.sources.items():
        option = BY_NAME[name]
        if source not in option.environ or name in ("seed", "selftest", *_KEPT):
            continue
        if option.metavar:
            flags.append(f"{option.flag}={os.environ[source]}")
        elif getattr(options, name):
            flags.append(option.flag)
    return flags


def sources_of(options: Options) -> dict[str, str]:
    """Who set each option that somebody has set."""
    return {name: source for name, source in options.sources.items() if source != "default"}
