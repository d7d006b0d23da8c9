"""The options: one field each, with all that makes its flag, ini entry, environment variable, check and help."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_kgate.evaluation.options import parse
from pytest_kgate.evaluation.options.kept import Kept
from pytest_kgate.evaluation.options.option import Option
from pytest_kgate.evaluation.options.option import choice
from pytest_kgate.evaluation.options.option import option
from pytest_kgate.evaluation.options.option import path
from pytest_kgate.evaluation.options.option import rate
from pytest_kgate.evaluation.options.option import seconds
from pytest_kgate.evaluation.options.option import switch

if TYPE_CHECKING:
    from pytest_kgate.search.space.assignments import Knobs
    from pytest_kgate.search.space.assignments import Sweep


@dataclass(frozen=True)
class Options(Kept):
    """What a session, or one test of it, was asked to do; every value is checked and typed."""

    # The rows of a table: of one shape on purpose, since flags, ini entries, variables and help are made of it.

    device: str = option(
        "auto",
        "Where candidates run: auto takes the first CUDA device, or the host where there is none.",
        parse=parse.device,
        allowed="auto, host, cuda or cuda:N, such as cuda:1",
        metavar="auto|cuda|cuda:N|host",
    )
    timer: str = choice(
        ("auto", "graph", "queue", "eager", "wall"),
        "How one sample is timed: graph replays a captured CUDA graph, queue fills the stream while a "
        "blocking kernel holds it, eager includes what a launch costs the host, wall reads the host's clock.",
    )
    cache: str = choice(
        ("hot", "cold"),
        "Whether a sample finds its inputs in the L2 cache (hot), or the cache is flushed before it (cold).",
    )
    budget: float = seconds(
        10.0,
        "How long one race may take before it ends undecided.",
        such_as=10,
        per_test=True,
    )
    grid_budget: float | None = seconds(
        None,
        "How long all races of a test over its shapes may take together: each shape has an equal share, and those that "
        "are not decided within it what those before them leave.",
        such_as=60,
    )
    seed: int | None = option(
        None,
        "Everything random in a kbench call follows from it: inputs, order of samples, resamples. Without it, "
        "each call draws its own, which nobody can know before, and records it.",
        parse=parse.seed,
        allowed="a whole number from 0 to 2**63 - 1, such as 42, or the 32 hexadecimal digits of a record",
        metavar="N",
        per_test=True,
    )
    require_gpu: bool = switch(
        "Fail the tests that need a CUDA device, instead of skipping them, where there is none.",
    )
    require_sanitizer: bool = switch(
        "Fail the tests with a sanitize marker, instead of skipping them, where compute-sanitizer does not work.",
    )
    require_metrics: bool = switch(
        "Fail the tests of which a limit can't be measured (resources, metrics, speed of light), instead of skipping "
        "them.",
    )
    profile: bool = switch(
        "Count with Nsight Compute what each test's candidate and reference do on the GPU, after the race; all tests "
        "share one run of it.",
    )
    profile_keep: Path | None = path(
        "Keep the files that Nsight Compute's own window opens in this folder; --kgate-profile is not needed then.",
        of="a folder, such as profiles",
        metavar="DIR",
    )
    """Absolute, where it was read by `from_config`."""
    profile_set: str = option(
        "basic",
        "The set of Nsight Compute's sections in the files that are kept: `ncu --list-sets` shows which there are.",
        parse=parse.name,
        allowed="a set's name, such as basic, detailed or full",
        metavar="SET",
    )
    profile_counters: str = choice(
        ("usual", "all"),
        "Which counters a session reads: usual are those of gates, findings and tables, and what markers name; all has "
        "what warps wait for and operations too, in more passes of each launch. `kgate profile` reads all.",
        per_test=False,
    )
    locked: Path | None = path(
        "Say what of packages, driver, CUDA, compilers, GPU and options differs from what `kgate lock` wrote to this "
        "file, in a warning on each record.",
        of="a file, such as kgate.lock",
        metavar="FILE",
    )
    """Absolute, where it was read by `from_config`."""
    locked_strict: bool = switch(
        "Judge nothing where the session differs from the file of --kgate-locked: every gate is INVALID then.",
    )
    impl: tuple[str, ...] = option(
        (),
        "Test only these implementations, and skip the others.",
        parse=parse.names,
        allowed="implementation names separated by commas, such as wmma,custom_v3",
        metavar="NAME[,NAME...]",
        also_environ=("IMPL",),
    )
    shapes: str | Path | None = option(
        None,
        "Run the tests that are parametrized with a grid of `pytest_kgate.shapes` over this one instead, and of those "
        "with other lists of shapes only what this one has.",
        parse=parse.grid,
        allowed="the name of a grid, such as acceptance, or the path of a file, such as grid.toml",
        metavar="NAME|FILE",
    )
    """A name, or a path: absolute, where it was read by `from_config`."""
    sdpa_backend: str = choice(
        ("fastest", "flash", "cudnn", "efficient", "math", "flex"),
        "Which backend of PyTorch's SDPA, or flex_attention, is the reference: fastest finds it by a short race for "
        "each shape.",
    )
    foreign_load: str = choice(
        ("invalid", "warn"),
        "What becomes of a race beside other work, on the GPU or for the CPU's cores, that can have made its verdict.",
        per_test=False,
    )
    inconclusive: str = choice(
        ("fail", "skip", "warn"),
        "What becomes of a test whose race ended undecided at its budget.",
    )
    weak: str = choice(
        ("fail", "allow"),
        "What becomes of a test whose check would also let zeros, one number everywhere or a remembered answer pass.",
    )
    rule: str = choice(
        ("sequential", "classic"),
        "How gates are judged: sequential holds its error rate; classic is the usual bootstrap of medians, once at the "
        "end of the race, whose error rate is not controlled.",
    )
    confidence: float | None = rate(
        "Judge every gate on the latency at this two-sided level at least, also where its marker asks for less: 0.975 "
        "lets a gate pass falsely in 1.25 % of races, half as often as the default 0.95.",
        such_as=0.975,
        metavar="LEVEL",
    )
    integrity: str = choice(
        ("on", "off"),
        "Whether to look at what the candidate does beside its answer: settings it changes, other streams and threads, "
        "remembered answers, the kernels it launches.",
        per_test=False,
    )
    clean: str = choice(
        ("auto", "on", "off"),
        "Whether a gate that would pass is looked at once more in a process that runs nothing of the candidate, where "
        "its problem can be made there by name. auto: on the host, since on a GPU it has not been measured.",
        per_test=False,
    )
    fdr: float | None = rate(
        "Let at most this share of the session's passed gates be false, on average (Benjamini-Hochberg): gates "
        "that are not sure enough for that fail the session at its end.",
        such_as=0.05,
        metavar="RATE",
    )
    selftest: bool = switch(
        "Race nothing: test the check of every kbench call with wrong kernels instead, as `kgate selftest` does.",
    )
    processes: int = option(
        1,
        "Race each gate in this many fresh processes, one after the other, and judge it by a t interval over "
        "their ratios: what a process carries as long as it lives then shows as noise.",
        parse=parse.processes,
        allowed="1, or a whole number from 3, such as 5 (two processes tell next to nothing of how processes differ)",
        metavar="N",
        per_test=True,
    )
    percentile: float | None = rate(
        "Let each race go on, past its verdict, until both arms' latency has an interval at this percentile (and as "
        "narrow as `precision` asks), up to 960 rounds or the budget.",
        such_as=0.99,
        metavar="Q",
        per_test=True,
    )
    rounds: int | None = option(
        None,
        "Measure only: check each candidate as always, race exactly this many rounds, and decide no gate. The record "
        "has the ratio with its interval, and says what was not looked at.",
        parse=parse.rounds,
        allowed="2 to 960 rounds",
        metavar="N",
    )
    joint: Path | None = path(
        "Run each test that has kernels or knobs once for every candidate of this file, a JSON list of at most 32 "
        "objects with knobs and their values; all whose answers are right are then raced in the same --kgate-rounds "
        "rounds, and no gate is decided.",
        of="a file, such as candidates.json",
        metavar="FILE",
    )
    """Absolute, where it was read by `from_config`."""
    isolate: bool = switch(
        "Run each candidate in a process of its own, which can't change the verdict, and time it from outside: "
        "for code that is not to be trusted.",
        per_test=True,
    )
    timeout: float = seconds(
        300.0,
        "How long one check or one round may take before the candidate counts as hung.",
        such_as=300,
        per_test=True,
    )
    arch: str | None = option(
        None,
        "Compile CUDA kernels for this architecture, instead of the device's own.",
        parse=parse.arch,
        allowed="a GPU architecture as nvcc names it, such as sm_90a",
        metavar="sm_NN",
    )
    candidate: str | None = option(
        None,
        "Judge this candidate in place of those that the tests hand to kbench: a function of a Python file, a kernel's "
        "source, or a solution of a published problem.",
        parse=parse.name,
        allowed="a candidate's name, such as new.py:attention, new.cu or solution.py",
        metavar="FILE[:NAME]",
    )
    knob: Knobs = option(
        (),
        "Set this knob of every kernel that has one of the name, and in the fixture `knobs`, for this run.",
        parse=parse.knobs,
        allowed="names with a value each, such as BLOCK_M=128 STAGES=2",
        metavar="NAME=VALUE",
        repeatable=True,
    )
    sweep: Sweep = option(
        (),
        "Run each test that has kernels or knobs once for every combination of these values.",
        parse=parse.sweep,
        allowed="names with different values each, such as BLOCK_M=32,64 STAGES=2,3",
        metavar="'NAME=VALUE,VALUE ...'",
    )
    until: str = choice(
        ("time", "check", "build"),
        "The last step of each kbench call: check only compares answers, build only compiles or imports the candidate.",
        per_test=False,
    )
    debug: bool = switch(
        "Build every kernel of a run with what it asserts on the device: to find a fault, since asserts take time.",
        per_test=True,
    )
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Who gave each value: `--kgate-budget`, `KGATE_BUDGET`, `ini`, `default`, `marker` or `kbench`. No option."""

    @property
    def profiles(self) -> bool:
        """Whether counters are wanted of every test, whatever its markers say."""
        return self.profile or self.profile_keep is not None

    def named(self, name: str) -> str:
        """How a message names an option that is set, and who set it: `timer=wall (--kgate-timer)`."""
        value = getattr(self, name)
        shown = name if value is True else f"{name}={value}"
        return f"{shown} ({self.sources.get(name, 'default')})"


OPTIONS: tuple[Option, ...] = tuple(
    Option(one.name, one.default, **one.metadata) for one in dataclasses.fields(Options) if one.metadata
)

BY_NAME: Mapping[str, Option] = MappingProxyType({option.name: option for option in OPTIONS})

PER_TEST: tuple[str, ...] = tuple(option.name for option in OPTIONS if option.per_test)
"""The options that the perf marker and `kbench` may override for one test."""
