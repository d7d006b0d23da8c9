"""The options: one table makes the command-line flags, the ini entries and the environment variables.

Precedence: marker or `kbench` keyword > command line > environment > ini file > default.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    name: str
    """The field of `Options`; flag, ini entry and environment variable follow from it."""

    parse: Callable[[object], Any]
    """Turns text, or what a marker gave, into the field's type; ValueError where it makes no sense."""

    default: object
    """The field's value where nobody said anything; already parsed."""

    allowed: str
    """What the value may be, as it reads after "takes"."""

    metavar: str
    """The value's place in the usage line; empty for a flag that takes none."""

    help: str
    """What the option does; the one text for the command line and the ini file."""

    choices: tuple[str, ...] = ()
    """All values, where they can be listed."""

    per_test: bool = False
    """Whether the perf marker and `kbench` may override it for one test."""

    also_environ: tuple[str, ...] = ()
    """Shorter environment variables, read after the main one."""

    @property
    def flag(self) -> str:
        return f"--kgate-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"kgate_{self.name}"

    @property
    def environ(self) -> tuple[str, ...]:
        return (f"KGATE_{self.name.upper()}", *self.also_environ)

    @property
    def help_everywhere(self) -> str:
        default = "" if self.default in (None, False, ()) else f" Default: {self.default}."
        return f"{self.help}{default} Flag {self.flag}, ini {self.ini}, environment {' or '.join(self.environ)}."


def _choice(name: str, choices: tuple[str, ...], help: str, *, default: str, per_test: bool = True) -> Option:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(value)
        return value

    allowed = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return Option(name, parse, default, allowed, "|".join(choices), help, choices, per_test)


def _device(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"auto|host|cuda(:\d+)?", value, re.ASCII):
        raise ValueError(value)
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    seconds = float(value)
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(value)
    return seconds


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(value)
    seed = int(value)
    if not 0 <= seed < 2**63:
        raise ValueError(value)
    return seed


def _path(value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(value)
    return Path(value).expanduser()


def _switch(value: object) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    word = str(value).lower()
    if word not in words:
        raise ValueError(value)
    return words[word]


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise ValueError(value)
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if not all(re.fullmatch(r"[\w./-]+", name) for name in names):
        raise ValueError(value)
    return names


def _arch(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"sm_\d{2,3}[af]?", value, re.ASCII):
        raise ValueError(value)
    return value


OPTIONS: tuple[Option, ...] = (
    Option(
        "device",
        _device,
        default="auto",
        allowed="auto, host, cuda or cuda:N, such as cuda:1",
        metavar="auto|cuda|cuda:N|host",
        help="Where candidates run: auto takes the first CUDA device, or the host where there is none.",
    ),
    _choice(
        "timer",
        ("auto", "graph", "queue", "eager", "wall"),
        "How one sample is timed: graph replays a captured CUDA graph, queue fills the stream while a "
        "blocking kernel holds it, eager includes what a launch costs the host, wall reads the host's clock.",
        default="auto",
    ),
    _choice(
        "cache",
        ("hot", "cold"),
        "Whether a sample finds its inputs in the L2 cache (hot), or the cache is flushed before it (cold).",
        default="hot",
    ),
    Option(
        "budget",
        _seconds,
        default=10.0,
        allowed="a positive number of seconds, such as 10",
        metavar="SECONDS",
        help="How long one race may take before it ends undecided.",
        per_test=True,
    ),
    Option(
        "seed",
        _seed,
        default=42,
        allowed="a whole number from 0 to 2**63 - 1, such as 42",
        metavar="N",
        help="Everything random in the session follows from it: inputs, order of samples, resamples.",
        per_test=True,
    ),
    Option(
        "json",
        _path,
        default=None,
        allowed="the path of a file, such as records.json",
        metavar="PATH",
        help="Write the records of all races to this file.",
    ),
    Option(
        "require_gpu",
        _switch,
        default=False,
        allowed="true or false",
        metavar="",
        help="Fail the tests that need a CUDA device, instead of skipping them, where there is none.",
    ),
    Option(
        "impl",
        _names,
        default=(),
        allowed="implementation names separated by commas, such as wmma,custom_v3",
        metavar="NAME[,NAME...]",
        help="Test only these implementations, and skip the others.",
        also_environ=("IMPL",),
    ),
    _choice(
        "sdpa_backend",
        ("fastest", "flash", "cudnn", "efficient", "math"),
        "Which backend of PyTorch's SDPA is the reference: fastest finds it by a short race for each shape.",
        default="fastest",
    ),
    _choice(
        "inconclusive",
        ("fail", "skip", "warn"),
        "What becomes of a test whose race ended undecided at its budget.",
        default="fail",
    ),
    Option(
        "timeout",
        _seconds,
        default=300.0,
        allowed="a positive number of seconds, such as 300",
        metavar="SECONDS",
        help="How long one check or one round may take before the candidate counts as hung.",
        per_test=True,
    ),
    Option(
        "arch",
        _arch,
        default=None,
        allowed="a GPU architecture as nvcc names it, such as sm_90a",
        metavar="sm_NN",
        help="Compile CUDA kernels for this architecture, instead of the device's own.",
    ),
)

_BY_NAME: Mapping[str, Option] = MappingProxyType({option.name: option for option in OPTIONS})

PER_TEST: tuple[str, ...] = tuple(option.name for option in OPTIONS if option.per_test)
"""The options that the perf marker and `kbench` may override for one test."""


def add_options(parser: pytest.Parser) -> None:
    """Add every row's flag and ini entry; the environment variables need no registering."""
    group = parser.getgroup("kgate", "performance tests of kernels (pytest-kgate)")
    for option in OPTIONS:
        # argparse reads % in help as a format.
        text = option.help_everywhere.replace("%", "%%")
        dest = option.ini
        if option.metavar:
            group.addoption(option.flag, dest=dest, metavar=option.metavar, default=None, help=text)
        else:
            group.addoption(option.flag, dest=dest, action="store_const", const="true", default=None, help=text)
        parser.addini(option.ini, option.help_everywhere, type="string", default=None)


def parse_value(name: str, value: object, source: str) -> Any:
    """Option `name`'s value, typed; raises UsageError that names source, value, and what is allowed."""
    option = _BY_NAME[name]
    try:
        return option.parse(value)
    except ValueError:
        raise UsageError(f"{_label(option, source)} cannot be {value!r}.", f"It takes {option.allowed}.") from None


def _label(option: Option, source: str) -> str:
    if source in (option.flag, *option.environ):
        return source
    return f"{option.ini} in the ini file" if source == "ini" else f"{option.name} ({source})"


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

    seed: int = 42
    """0 to 2**63 - 1."""

    json: Path | None = None
    """Absolute path of the file for the records, when made by `from_config`."""

    require_gpu: bool = False
    """Whether a missing CUDA device fails the tests that need one."""

    impl: tuple[str, ...] = ()
    """The implementations to test; empty for all."""

    sdpa_backend: str = "fastest"
    """`fastest`, `flash`, `cudnn`, `efficient` or `math`."""

    inconclusive: str = "fail"
    """`fail`, `skip` or `warn`."""

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
            f"{_label(_BY_NAME['json'], source)} names a directory: {absolute}.",
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
