"""Where a session's options come from.

Precedence: marker or `kbench` keyword > command line > environment > ini file > default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.processes.variable import VARIABLE
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.conflicts import check_device_has_timer
from pytest_kgate.evaluation.options.option import ENVIRON_PREFIX
from pytest_kgate.evaluation.options.option import Option
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import OPTIONS
from pytest_kgate.evaluation.options.options import Options

if TYPE_CHECKING:
    import pytest

_OWN = {VARIABLE.removeprefix(ENVIRON_PREFIX)}
"""Variables that this package sets for its own processes, and whose names are like those of options."""

_ALIKE = 0.85
"""How alike the name of a variable and that of an option's are, as difflib has it, where one must be meant for the
other: ISOLATED and ISOLATE, not LOCK_DIR and LOCKED. Variables of other programs may begin in the same way."""

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
    _demand_well_spelt(environ)
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


def _demand_well_spelt(environ: Mapping[str, str]) -> None:
    """Raise UsageError where a variable is nearly one of an option's: a gate must not go without what it asks for."""
    known = {name.removeprefix(ENVIRON_PREFIX) for option in OPTIONS for name in option.environ}
    others = {name.removeprefix(ENVIRON_PREFIX) for name in environ if name.startswith(ENVIRON_PREFIX)} - known - _OWN
    if not others:
        return
    import difflib  # here, since few sessions need it

    for name in sorted(others):
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_ALIKE)
        if close:
            raise UsageError(
                f"No option is set by the environment variable {ENVIRON_PREFIX}{name}.",
                f"Did you mean {ENVIRON_PREFIX}{close[0]}? Rename it, or unset it.",
            )


def _find(option: Option, config: pytest.Config, environ: Mapping[str, str]) -> tuple[object, str]:
    given = config.getoption(option.ini, default=None)
    if given is not None:
        return " ".join(given) if isinstance(given, list) else given, option.flag
    variable = option.variable_set(environ)
    if variable is not None:
        return environ[variable], variable
    try:
        given = config.getini(option.ini)
    except TypeError as error:  # native TOML with a bare number, on pytest 9.0 and 9.1
        raise UsageError(str(error), f'Write the value of {option.ini} in quotes: "...".') from None
    return (given, "ini") if given else (None, "default")


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
