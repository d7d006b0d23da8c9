"""What a session was asked to do: the table's values, from wherever they were given.

Precedence: marker or `kbench` keyword > command line > environment > ini file > default.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.session.options.table import BY_NAME
from pytest_kgate.session.options.table import OPTIONS
from pytest_kgate.session.options.table import PER_TEST
from pytest_kgate.session.options.table import Option
from pytest_kgate.session.options.table import label
from pytest_kgate.session.options.table import parse_value

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Options:
    """What a session, or one test of it, was asked to do; every value is checked and typed."""

    device: str = "auto"
    """`auto`, `cuda`, `cuda:N` or `host`."""

    timer: str = "auto"
    """`auto`, `graph`, `queue`, `eager` or `wall`."""

    cache: str = "hot"
    """`hot` or `cold`."""

    budget: float = 10.0
    """Seconds that one race may take."""

    seed: int | None = None
    """0 to 2**63 - 1, or a drawn one of 128 bits; None for one that is drawn anew for each call."""

    json: Path | None = None
    """Absolute path of the file for the records, when made by `from_config`."""

    require_gpu: bool = False
    """Whether a missing CUDA device fails the tests that need one."""

    require_sanitizer: bool = False
    """Whether a missing compute-sanitizer fails the tests that ask for it."""

    impl: tuple[str, ...] = ()
    """The implementations to test; empty for all."""

    sdpa_backend: str = "fastest"
    """`fastest`, `flash`, `cudnn`, `efficient` or `math`."""

    inconclusive: str = "fail"
    """`fail`, `skip` or `warn`."""

    rule: str = "sequential"
    """`sequential` or `classic`."""

    integrity: str = "on"
    """`on` or `off`."""

    fdr: float | None = None
    """False discovery rate of the session's gates; None where every gate is judged by itself."""

    selftest: bool = False
    """Whether `kbench` tests its problem's check with mutants instead of racing."""

    processes: int = 1
    """Fresh processes that each gate is raced in; 1, or 3 and more."""

    isolate: bool = False
    """Whether candidates run in processes of their own, which can't change a verdict."""

    timeout: float = 300.0
    """Seconds after which a check or a round counts as hung."""

    arch: str | None = None
    """`sm_90a`; None for the device's own."""

    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Who gave each value: `--kgate-budget`, `KGATE_BUDGET`, `ini`, `default`, `marker` or `kbench`."""

    @classmethod
    def from_config(cls, config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Options:
        """The session's options; UsageError at the first value, or pair of values, that makes no sense."""
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for option in OPTIONS:
            given, source = _find(option, config, environ)
            sources[option.name] = source
            values[option.name] = option.default if source == "default" else parse_value(option.name, given, source)
        if values["json"] is not None:
            values["json"] = _absolute(values["json"], sources["json"], config)
        options = cls(**values, sources=MappingProxyType(sources))
        check_conflicts(options)
        _check_device_has_timer(options)
        return options

    def override(self, source: str = "marker", /, **values: object) -> Options:
        """These options with some replaced for one test; raises UsageError as `from_config` does."""
        for name in values:
            if name not in PER_TEST:
                raise UsageError(
                    f"{name} ({source}) is not an option of one test.", f"These are: {', '.join(PER_TEST)}."
                )
        parsed = {name: parse_value(name, value, source) for name, value in values.items()}
        sources = MappingProxyType({**self.sources, **dict.fromkeys(parsed, source)})
        options = dataclasses.replace(self, **parsed, sources=sources)
        check_conflicts(options)
        return options


def _find(option: Option, config: pytest.Config, environ: Mapping[str, str]) -> tuple[object, str]:
    given = config.getoption(option.ini, default=None)
    if given is not None:
        return given, option.flag
    for variable in option.environ:
        # Set but empty is how CI systems spell "not set".
        if environ.get(variable):
            return environ[variable], variable
    try:
        given = config.getini(option.ini)
    except TypeError as error:  # native TOML with a bare number, on pytest 9.0 and 9.1
        raise UsageError(str(error), f'Write the value of {option.ini} in quotes: "...".') from None
    return (given, "ini") if given else (None, "default")


def _absolute(path: Path, source: str, config: pytest.Config) -> Path:
    # As pytest does it: what an ini file says is relative to that file, all else to where pytest was started.
    beside_ini = source == "ini" and config.inipath is not None
    base = config.inipath.parent if beside_ini and config.inipath else config.invocation_params.dir
    absolute = base / path
    if absolute.is_dir():
        # Found now, because the records are written when hours of races may lie behind.
        raise UsageError(
            f"{label(BY_NAME['json'], source)} names a directory: {absolute}.",
            f"Name a file in it: {path / 'records.json'}.",
        )
    return absolute


def check_conflicts(options: Options) -> None:
    """Raise UsageError where two values, each fine alone, cannot be had together."""
    if options.timer == "wall" and options.cache == "cold":
        raise UsageError(
            f"timer=wall ({_source(options, 'timer')}) cannot go with cache=cold "
            f"({_source(options, 'cache')}): only a GPU's L2 cache can be emptied.",
            "Use cache=hot, or a timer of a CUDA device: graph or queue.",
        )
    if options.isolate and options.processes > 1:
        raise UsageError(
            f"isolate ({_source(options, 'isolate')}) cannot go with processes={options.processes} "
            f"({_source(options, 'processes')}): those processes measure, and run the candidate.",
            "Use one of them.",
        )
    if options.isolate and options.timer not in ("auto", "wall"):
        raise UsageError(
            f"isolate ({_source(options, 'isolate')}) cannot go with timer={options.timer} "
            f"({_source(options, 'timer')}): an isolated candidate is timed from outside, by the host's clock.",
            "Use timer=auto.",
        )
    if options.rule == "classic" and options.processes > 1:
        raise UsageError(
            f"rule=classic ({_source(options, 'rule')}) cannot go with processes={options.processes} "
            f"({_source(options, 'processes')}): it resamples the rounds of one process.",
            "Use rule=sequential, or processes=1.",
        )


def _check_device_has_timer(options: Options) -> None:
    # Only where the session names both: a test that brings its own timer may yet be skipped on this device.
    kind = options.device.partition(":")[0]
    timers = {"host": ("auto", "wall"), "cuda": ("auto", "graph", "queue", "eager")}.get(kind)
    if timers is not None and options.timer not in timers:
        raise UsageError(
            f"timer={options.timer} ({_source(options, 'timer')}) cannot go with device={options.device} "
            f"({_source(options, 'device')}).",
            f"Use timer={' or timer='.join(timers)} there.",
        )


def _source(options: Options, name: str) -> str:
    return options.sources.get(name, "default")
