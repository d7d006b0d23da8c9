"""The table of options: each row makes a command-line flag, an ini entry and an environment variable."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.session.options import parse as values

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


OPTIONS: tuple[Option, ...] = (
    Option(
        "device",
        values.device,
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
        values.seconds,
        default=10.0,
        allowed="a positive number of seconds, such as 10",
        metavar="SECONDS",
        help="How long one race may take before it ends undecided.",
        per_test=True,
    ),
    Option(
        "seed",
        values.seed,
        default=None,
        allowed="a whole number from 0 to 2**63 - 1, such as 42, or the 32 hexadecimal digits of a record",
        metavar="N",
        help="Everything random in a kbench call follows from it: inputs, order of samples, resamples. Without it, "
        "each call draws its own, which nobody can know before, and records it.",
        per_test=True,
    ),
    Option(
        "json",
        values.path,
        default=None,
        allowed="the path of a file, such as records.json",
        metavar="PATH",
        help="Write the records of all races to this file.",
    ),
    Option(
        "require_gpu",
        values.switch,
        default=False,
        allowed="true or false",
        metavar="",
        help="Fail the tests that need a CUDA device, instead of skipping them, where there is none.",
    ),
    Option(
        "require_sanitizer",
        values.switch,
        default=False,
        allowed="true or false",
        metavar="",
        help="Fail the tests with a sanitize marker, instead of skipping them, where compute-sanitizer does not work.",
    ),
    Option(
        "impl",
        values.names,
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
    _choice(
        "rule",
        ("sequential", "classic"),
        "How gates are judged: sequential holds its error rate; classic is the usual bootstrap of medians, once at the "
        "end of the race, whose error rate is not controlled.",
        default="sequential",
    ),
    _choice(
        "integrity",
        ("on", "off"),
        "Whether to look at what the candidate does beside its answer: settings it changes, other streams and threads, "
        "remembered answers, the kernels it launches.",
        default="on",
        per_test=False,
    ),
    Option(
        "fdr",
        values.rate,
        default=None,
        allowed="a number between 0 and 1, such as 0.05",
        metavar="RATE",
        help="Let at most this share of the session's passed gates be false, on average (Benjamini-Hochberg): gates "
        "that are not sure enough for that fail the session at its end.",
    ),
    Option(
        "selftest",
        values.switch,
        default=False,
        allowed="true or false",
        metavar="",
        help="Race nothing: test the check of every kbench call with wrong kernels instead, as `kgate selftest` does.",
    ),
    Option(
        "processes",
        values.processes,
        default=1,
        allowed="1, or a whole number from 3, such as 5 (two processes tell next to nothing of how processes differ)",
        metavar="N",
        help="Race each gate in this many fresh processes, one after the other, and judge it by a t interval over "
        "their ratios: what a process carries as long as it lives then shows as noise.",
        per_test=True,
    ),
    Option(
        "isolate",
        values.switch,
        default=False,
        allowed="true or false",
        metavar="",
        help="Run each candidate in a process of its own, which can't change the verdict, and time it from outside: "
        "for code that is not to be trusted.",
        per_test=True,
    ),
    Option(
        "timeout",
        values.seconds,
        default=300.0,
        allowed="a positive number of seconds, such as 300",
        metavar="SECONDS",
        help="How long one check or one round may take before the candidate counts as hung.",
        per_test=True,
    ),
    Option(
        "arch",
        values.arch,
        default=None,
        allowed="a GPU architecture as nvcc names it, such as sm_90a",
        metavar="sm_NN",
        help="Compile CUDA kernels for this architecture, instead of the device's own.",
    ),
)

BY_NAME: Mapping[str, Option] = MappingProxyType({option.name: option for option in OPTIONS})

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
    option = BY_NAME[name]
    try:
        return option.parse(value)
    except ValueError:
        raise UsageError(f"{label(option, source)} cannot be {value!r}.", f"It takes {option.allowed}.") from None


def label(option: Option, source: str) -> str:
    """How a message names an option that this source gave."""
    if source in (option.flag, *option.environ):
        return source
    return f"{option.ini} in the ini file" if source == "ini" else f"{option.name} ({source})"
