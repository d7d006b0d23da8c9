"""Where a session's options come from.

Precedence: marker or `kbench` keyword > command line > environment > ini file > default.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pytest_kgate.bench.processes.variable import VARIABLE
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.conflicts import check_device_has_timer
from pytest_kgate.evaluation.options.option import ENVIRON_PREFIX
from pytest_kgate.evaluation.options.option import Option
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import OPTIONS
from pytest_kgate.evaluation.options.options import Options

_ALIKE = 0.85
"""How alike the name of a variable, or of an ini entry, and that of an option's are, as difflib has it, where one must
be meant for the other: ISOLATED and ISOLATE, not LOCK_DIR and LOCKED. Those of other programs may begin in the same
way."""

_INI_PREFIX = "kgate_"

_FOLDERS = ("profile_keep",)
"""Options that name a folder. The others of type `Path` name a file."""

_EXAMPLES = {"shapes": "grid.toml", "locked": "kgate.lock", "joint": "candidates.json", "html": "kgate.html"}
"""What a file is called, where it holds no records."""


def add_options(parser: pytest.Parser) -> None:
    """Add every option's flag and ini entry; the environment variables need no registering."""
    group = parser.getgroup("kgate", "performance tests of kernels (pytest-kgate)")
    for option in OPTIONS:
        # argparse reads % in help as a format.
        text = option.help_everywhere.replace("%", "%%")
        dest = option.ini
        if option.metavar:
            action = "append" if option.repeatable else "store"
            group.addoption(option.flag, dest=dest, action=action, metavar=option.metavar, default=None, help=text)
        else:
            group.addoption(option.flag, dest=dest, action="store_const", const="true", default=None, help=text)
        parser.addini(option.ini, option.help_everywhere, type="string", default=None)


def from_config(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Options:
    """The session's options; UsageError at the first value, or pair of values, that makes no sense."""
    _demand_well_spelt(environ, _entries(config))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for option in OPTIONS:
        given, source = _find(option, config, environ)
        sources[option.name] = source
        values[option.name] = option.default if source == "default" else option.value(given, source)
    for name, value in values.items():
        if isinstance(value, Path):
            values[name] = _absolute(BY_NAME[name], value, sources[name], config)
    options = Options(**values, sources=MappingProxyType(sources))
    check_conflicts(options)
    check_device_has_timer(options)
    return options


def _demand_well_spelt(environ: Mapping[str, str], entries: Collection[str]) -> None:
    """Raise UsageError where a variable or an ini entry is nearly one of an option's, which would set nothing.

    A gate must not go without what it asks for.
    """
    variables = {name for option in OPTIONS for name in option.environ}
    for kind, prefix, given, known in (
        ("environment variable", ENVIRON_PREFIX, environ, variables | {VARIABLE}),
        ("ini entry", _INI_PREFIX, entries, {option.ini for option in OPTIONS}),
    ):
        others = {name for name in given if name.startswith(prefix)} - known
        if not others:
            continue
        import difflib  # here, since few sessions need it

        short = [name.removeprefix(prefix) for name in sorted(known - {VARIABLE}) if name.startswith(prefix)]
        for name in sorted(others):
            close = difflib.get_close_matches(name.removeprefix(prefix), short, n=1, cutoff=_ALIKE)
            if close:
                remedy = "unset it" if kind == "environment variable" else "take it out"
                raise UsageError(
                    f"No option is set by the {kind} {name}.",
                    f"Did you mean {prefix}{close[0]}? Rename it, or {remedy}.",
                )


def _find(option: Option, config: pytest.Config, environ: Mapping[str, str]) -> tuple[object, str]:
    given = config.getoption(option.ini, default=None)
    if given is not None:
        return _joined(given), option.flag
    variable = option.variable_set(environ)
    if variable is not None:
        return environ[variable], variable
    try:
        given = config.getini(option.ini)
    except (TypeError, pytest.UsageError) as error:
        # Native TOML with a bare number, a boolean or a list, where pytest 9 demands a string: its TypeError until 9.1.
        entry = _entries(config).get(option.ini)
        given = getattr(entry, "value", entry)
        if not isinstance(given, (bool, int, float)) and not (option.repeatable and isinstance(given, list)):
            raise UsageError(str(error), f'Write the value of {option.ini} in quotes: "...".') from None
    return (None, "default") if given is None or given == "" else (_joined(given), "ini")


def _joined(given: object) -> object:
    """Parts of a value, where there are several, as one."""
    return " ".join(map(str, given)) if isinstance(given, list) else given


def _entries(config: pytest.Config) -> Mapping[str, Any]:
    """What the ini file says, by its own names; pytest 9 keeps it beside a property that warns whoever reads it."""
    found: Mapping[str, Any] = vars(config).get("_inicfg") or vars(config).get("inicfg") or {}
    return found


def _absolute(option: Option, path: Path, source: str, config: pytest.Config) -> Path:
    # As pytest does it: what an ini file says is relative to that file, all else to where pytest was started.
    beside_ini = source == "ini" and config.inipath is not None
    base = config.inipath.parent if beside_ini and config.inipath else config.invocation_params.dir
    absolute = base / path
    if option.name in _FOLDERS:
        if absolute.is_dir() or not absolute.exists():
            return absolute
        raise UsageError(f"{option.label(source)} names a file: {absolute}.", "Name a folder; it is made if need be.")
    if absolute.is_dir() and option.name != "history":  # which may be either
        # Found now, because the records are written when hours of races may lie behind.
        raise UsageError(
            f"{option.label(source)} names a directory: {absolute}.",
            f"Name a file in it: {path / _EXAMPLES.get(option.name, 'records.json')}.",
        )
    return absolute
