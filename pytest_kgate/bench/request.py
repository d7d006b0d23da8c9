"""The request that a `kbench` call is made into, its settings, and the outcome that comes back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from pytest_kgate.bench import seeds
from pytest_kgate.build import vendor_libraries as vendor
from pytest_kgate.build.compiler.ninja import build_of
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.report.text.layers import in_the_winning_layer
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.asked import AskedFacts
    from pytest_kgate.report.record.facts.sanitizer import SanitizerFacts
    from pytest_kgate.report.record.facts.timing import MeasuredFacts
    from pytest_kgate.report.record.record import ProblemFacts
    from pytest_kgate.report.record.record import Record

UNVERIFIED = "kgate-unverified"
"""Name of a pytest plugin: with it, and with --kgate-integrity off, timed launches are not verified."""

_NOT_LOOKED_AT = (
    "a second race where the first was disturbed",
    "side effects of the candidate",
    "the clean process",
    "sanitize, resources and metrics markers",
)
"""By a call that only measures a number of rounds: what only a gate that is to pass needs."""


@dataclass(frozen=True)
class Settings:
    """How one call is checked, raced and judged, once options, markers and keyword arguments are put together."""

    timer: str = "auto"
    """`auto`, `graph`, `queue`, `eager` or `wall`."""
    cache: str = "hot"
    """`hot` or `cold`."""
    budget: float = 10.0
    """Seconds that one race may take."""
    timeout: float = 300.0
    """Seconds after which a check or a round counts as hung."""
    rule: str = "sequential"
    """`sequential` or `classic`."""
    processes: int = 1
    """Fresh processes that each gate is raced in; 1, or 3 and more."""
    percentile: float | None = None
    """Of both arms' latency: the race goes on until it has an interval."""
    rounds: int | None = None
    """The race takes exactly so many, and nothing is judged on it; None for a race that is judged."""
    foreign_load: str = "invalid"
    """`invalid` or `warn`."""
    weak: str = "fail"
    """`fail` or `allow`: whether a check that an answer without any work would pass can be passed."""
    isolate: bool = False
    """Whether the candidate runs in a process of its own."""
    integrity: str = "on"
    """`on` or `off`."""
    clean: str = "auto"
    """`auto` or `off`: whether a process that runs no candidate looks at gates that would pass."""
    selftest: bool = False
    """Whether the check is shown mutants, and nothing is raced."""
    seed: int | None = None
    """The root of the book of seeds; None for one that is drawn for the call."""
    until: str = "time"
    """The last step: `time`, `check` (nothing is raced) or `build` (nothing is called)."""
    verify_timed_launches: bool = True
    """Whether what timed launches leave is compared with the exact answer. No option: without it a gate means nothing,
    and only the catalogue of cheats shows what would pass then."""


@dataclass(frozen=True)
class Request:
    """One `kbench` call: which candidate, on which problem, held to which gates, with which settings."""

    test: str
    """The test's node id."""
    call: int
    """0 for a test's first `kbench` call."""
    candidate: Callable[..., Any]
    """Under `isolate` a `NamedCandidate`, which refuses to be called here."""
    problem: Problem
    speed: tuple[SpeedGate, ...]
    error: ErrorGate | None
    settings: Settings
    name: str | None = None
    """The candidate's name in tables; None for its own."""
    check: bool = True
    """Whether a wrong answer fails a request that demands speed but names no tolerance."""
    precision: float | None = None
    attempt: int = 1
    """Which run of the test this is; above 1 where a plugin reruns failed tests."""
    own: bool | None = None
    """Whether the candidate claims to call no library; None: it does if it was built from a kernel's source."""
    process: int | None = None
    """Which of a gate's processes this is, from 1: it measures, and its parent judges. None where this one judges."""
    asked: AskedFacts | None = None
    """For the record; None where no session asks."""
    sources: Mapping[str, str] | None = None
    """For the record: digests of the files that the call rests on, by path; None where no session asks."""
    differs: str = ""
    """How the session differs from the one that it is held to: a warning on the record."""
    notes: tuple[str, ...] = ()
    """What else the session has to say of it: more warnings, a sentence each."""
    unusable: KgateError | None = None
    """Why the candidate can't be called at all: it does not compile, or can't be imported."""
    light: SpeedOfLightGate | None = None
    """What share of the measured roofline the candidate must reach."""
    sanitizer: SanitizerFacts | None = None
    """What compute-sanitizer found in the test's kernels; a finding ends the request before its check."""

    @property
    def seed(self) -> int:
        """The root of this call's book of seeds.

        It is the problem's own seed, or else the session's. Each of several processes has one derived from that.
        """
        root = self.session_seed if self.problem.seed is None else self.problem.seed
        return root if self.process is None else seeds.SeedBook(root).page(seeds.Stream.PROCESS, self.process).root

    @property
    def book(self) -> seeds.SeedBook:
        """The book of seeds of this call: every random draw but the secret lots is looked up in it."""
        return seeds.SeedBook(self.seed)

    @functools.cached_property
    def session_seed(self) -> int:
        """The seed given with --kgate-seed, or else a secret one that is drawn for this call.

        It is drawn so late that no record written before the call can give it away to the candidate.
        """
        return seeds.drawn() if self.settings.seed is None else self.settings.seed

    @property
    def claims_own(self) -> bool:
        """Whether the candidate claims to launch its own kernels only, so that launching a library's is a fault."""
        return build_of(self.candidate) is not None if self.own is None else self.own

    @property
    def declared_libraries(self) -> tuple[str, ...]:
        """The libraries whose kernels the candidate may launch: those its source opens, and those that these call."""
        return vendor.with_theirs(attribute(self.candidate, "libraries", tuple, ()))

    @property
    def races(self) -> bool:
        """Whether there is a gate on the latency, and the call comes to its race."""
        return self.times and not self.settings.selftest and self.settings.until == "time"

    @property
    def times(self) -> bool:
        """Whether a gate is on the latency: relative to the reference's, or to the measured roofline."""
        return bool(self.speed) or self.light is not None

    @property
    def judged_by_race(self) -> bool:
        """Whether a race that is not to be trusted makes the record INVALID."""
        return self.times or self.settings.rounds is not None

    @property
    def in_processes(self) -> bool:
        """Whether the race is run in several fresh processes, while this one checks and judges."""
        return self.process is None and self.settings.processes > 1 and self.races

    @property
    def measured(self) -> MeasuredFacts | None:
        """What the record of a call says that only measures; None where gates are judged."""
        rounds = self.settings.rounds
        return None if rounds is None else {"rounds": rounds, "not_looked_at": list(_NOT_LOOKED_AT)}

    @property
    def problem_facts(self) -> ProblemFacts:
        """What the record says of the problem."""
        problem, shape = self.problem, self.problem.shape
        facts: ProblemFacts = {
            "name": problem.name,
            "shape": [shape.batch, shape.heads, shape.seqlen, shape.head_dim] if shape else None,
            "causal": shape.causal if shape else None,
            "dtype": problem.dtype,
            "flops": problem.flops,
            "bytes": problem.bytes,
            "params": dict(problem.params),
        }
        if problem.published is not None:
            facts[problem.published.kind] = cast("Any", problem.published.to_dict())
        return facts

    def in_its_layer(self, error: UsageError) -> UsageError:
        """The error, its advice on the layer that has set the option: the device knows an option's value alone."""
        sources = self.asked["sources"] if self.asked else {}
        return UsageError(in_the_winning_layer(error.what, sources), in_the_winning_layer(error.todo, sources))

    @property
    def must_be_right(self) -> bool:
        """Whether a wrong answer ends the call before its race; a call without gates measures wrong kernels too.

        Where a number of rounds is asked for, gates were left out, and no wrong kernel is measured.
        """
        judged = self.times or self.settings.until == "check" or self.settings.rounds is not None
        return self.error is not None or (self.check and judged)


@dataclass(frozen=True)
class Outcome:
    """What a call hands back: its record, and the exception behind an ERROR verdict."""

    record: Record
    cause: BaseException | None = None
