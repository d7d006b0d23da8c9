"""What a record says of the race: settings, samples, and what tells whether they can be trusted. Times are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

from pytest_kgate.report.record.facts.asked import Seed
from pytest_kgate.statistics.gate_facts import GateVerdict
from pytest_kgate.statistics.gate_facts import IntervalFacts
from pytest_kgate.statistics.gate_facts import Number
from pytest_kgate.statistics.gate_facts import PercentileFacts

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

Cache = Literal["hot", "cold"]
"""Whether a sample finds its inputs in the second-level cache."""

Count = Annotated[int, ">= 0"]
Seconds = Annotated[float, ">= 0"]


class SamplesFacts(TypedDict):
    """An array of seconds: its little-endian float64 in C order, zlib, base64."""

    encoding: Literal["zlib+base64"]
    """How `data` was made of the bytes."""
    dtype: Literal["<f8"]
    """As numpy names it."""
    shape: Annotated[list[Count], "length 2"]
    """Rounds, samples of a round; one sample a row where processes took different numbers a round."""
    data: Annotated[str, "pattern ^[A-Za-z0-9+/]*={0,2}$"]
    """The bytes."""
    digest: NotRequired[Annotated[str, "pattern ^[0-9a-f]{32}$"]]
    """BLAKE2b of the bytes before they were compressed."""


class ArmFacts(TypedDict):
    """Net latencies of one call of an arm: the overhead is taken off."""

    median_seconds: Number
    """Of all samples."""
    p10_seconds: Number
    """A tenth of all samples are below."""
    p90_seconds: Number
    """A tenth of all samples are above."""
    percentiles: NotRequired[list[PercentileFacts]]
    """p50, p90, p95, p99 and the one that was asked for, of all samples, each a mean over its calls; missing in records
    of older versions, whose samples tell them."""
    samples: SamplesFacts
    """All of them."""


class OverheadFacts(TypedDict):
    """Medians of what was taken off each sample of an arm, in seconds."""

    candidate: Number
    reference: Number


class OutlierFacts(TypedDict):
    """How many samples of an arm stand far from their round. They are counted, never deleted."""

    candidate: Count
    reference: Count


class TryFacts(TypedDict):
    """One race: there is a second where the first could not be trusted."""

    seed: Seed
    """Of its inputs and order."""
    rounds: NotRequired[Count]
    """That it took."""
    seconds_spent: NotRequired[Seconds]
    """On it."""
    verdicts: NotRequired[list[GateVerdict]]
    """Of its gates, as they would have been; they have no part in what follows."""
    reasons: list[str]
    """Why it is not to be trusted; empty where it is."""


class MachineFacts(TypedDict):
    """One reading of the driver's management library, between rounds."""

    round: Count
    """How many rounds were over."""
    throttle: int | None
    """NVML's bit mask of clocks event reasons."""
    temperature_c: float | None
    """Of the GPU, in degrees Celsius."""
    foreign_processes: int | None
    """With a compute context on the device, and not ours."""
    seconds: Seconds
    """What the reading cost."""


class EffectFacts(TypedDict):
    """An effect on the log latency: from the first to the last place, or of the first sample."""

    mean: float
    """Over rounds."""
    t: float
    """The mean over its standard error."""


class PositionFacts(TypedDict):
    """Whether a sample's latency depends on its place in the round."""

    candidate: EffectFacts
    """From the first place of a round to the last."""
    reference: EffectFacts
    """From the first place of a round to the last."""
    bias: float
    """What it did to the log ratio in this race."""
    ratio_se: Annotated[float, ">= 0"]
    """Standard error of the mean log ratio, over rounds."""
    first_sample: EffectFacts
    """By how much a round's first sample is slower than the others of its arm."""


class IdleGapFacts(TypedDict):
    """The seconds, from round to round, in which the device was not seen at work."""

    median: Seconds
    longest: Seconds


class ColdFacts(TypedDict):
    """SM clock cycles of one dependent load."""

    hot_cycles: Annotated[float, ">= 0"]
    """From the cache."""
    flushed_cycles: Annotated[float, ">= 0"]
    """After the cache was emptied."""


class EvidenceFacts(TypedDict, total=False):
    """What tells whether the race can be trusted.

    Keys that are not named here are device readings around the rounds: lists of one value a round, whose names end in
    the unit.
    """

    tries: Annotated[list[TryFacts], "length >= 1", "length <= 2"]
    """The races, in order. The last one counts; there are two only where the first had reasons."""
    machine: list[MachineFacts]
    """Readings between rounds; the first is from before the race, the last from after it."""
    clock_step_bias: Annotated[float, ">= 0"]
    """The most that steps of the SM clock within rounds can have moved the log ratio."""
    position: PositionFacts
    """Whether a sample's latency depends on its place in the round."""
    autocorrelation: dict[str, float]
    """Lag-1, from round to round, of the log latencies of `candidate` and `reference` and of their `ratio`."""
    tick_share: Annotated[float, ">= 0"]
    """One tick of the timer as a fraction of the shorter latency."""
    idle_gap_seconds: IdleGapFacts
    """From round to round, the time in which the device was not seen at work."""
    cold: ColdFacts
    """Whether the cache was really emptied before the samples."""


class ProcessFacts(TypedDict):
    """One of several processes of a gate."""

    started: Annotated[str, "format date-time"]
    """When its call began, with the time zone."""
    seed: Seed
    """Of its inputs and order."""
    rounds: Annotated[int, ">= 1"]
    """That it took."""
    samples_per_round: Annotated[int, ">= 1"]
    """Of each arm."""
    seconds_spent: Seconds
    """On its race."""
    candidate_seconds: NotRequired[Number]
    """Median latency."""
    reference_seconds: NotRequired[Number]
    """Median latency."""
    overhead_seconds: NotRequired[OverheadFacts]
    """What was taken off each sample."""
    evidence: NotRequired[EvidenceFacts]
    """What tells whether its race can be trusted."""


class ProbesFacts(TypedDict):
    """Launches on new values among the timed ones."""

    rounds: Annotated[int, ">= 1"]
    """How many were probed."""
    verified: int
    """Answers that were compared with the exact ones."""
    lots: NotRequired[list[Count]]
    """Which of the probed rounds these are from, counted from 0; drawn by lot afterwards."""
    surprise_seconds: dict[str, float]
    """By arm, the median of how much longer its row of launches took on new values than the median on old ones."""
    hidden_seconds: NotRequired[float | None]
    """Median of how much longer one of the candidate's calls took where it waited for the call before it to end.

    Null where the timer lets no two calls meet.
    """


class JointFacts(TypedDict):
    """What the record says of a race whose rounds several candidates shared.

    Records with the same `race` have the same rounds: the n-th round of each is one and the same.
    """

    race: Annotated[str, "pattern ^[0-9a-f]{12}$"]
    """Tells this race from others."""
    arms: Annotated[int, ">= 2"]
    """That shared the rounds, the reference among them."""


class MeasuredFacts(TypedDict):
    """What the record says of a call that only measures, in a number of rounds that was asked for."""

    rounds: Annotated[int, ">= 2"]
    """That were asked for."""
    not_looked_at: list[str]
    """What a gate that is to pass would have been looked at for besides."""
    joint: NotRequired[JointFacts]
    """Where other candidates were raced in the same rounds."""


class TimingFacts(TypedDict):
    """The race: how it was timed, its samples, and what tells whether they can be trusted."""

    timer: str
    """`graph`, `queue`, `eager`, `wall` or `fake`: what was really used."""
    cache: Cache
    """Whether samples found their inputs in the second-level cache."""
    rounds: Count
    """That were taken."""
    samples_per_round: Annotated[int, ">= 1"]
    """Of each arm."""
    budget_seconds: Seconds
    """What the race might have spent."""
    seconds_spent: Seconds
    """What it spent."""
    tick_seconds: Seconds
    """The smallest step that one sample can show."""
    offset_sd: NotRequired[Number]
    """By which the log ratio of the whole race is off, as a standard deviation: part of the interval's width."""
    retaken: Count
    """Samples taken again because the host was late, never for their value."""
    candidate: ArmFacts
    """Its latencies."""
    reference: ArmFacts
    """Its latencies."""
    overhead_seconds: OverheadFacts
    """What was taken off each sample."""
    ratio_of_medians: Number
    """Candidate over reference."""
    outliers: OutlierFacts
    """Samples that stand far from their round."""
    undone: NotRequired[str]
    """Why timed calls have not done the work, by those that were looked at; missing where nothing speaks against it."""
    ratio: NotRequired[IntervalFacts | None]
    """The interval of the latency ratio where no gate is set, or none was to be judged."""
    evidence: NotRequired[EvidenceFacts]
    """What tells whether the race can be trusted; empty where several processes have theirs."""
    processes: NotRequired[list[ProcessFacts]]
    """Where several processes were asked for, each in its order.

    The samples of the arms above are those of the first, then of the second, and so on.
    """
    probes: NotRequired[ProbesFacts | None]
    """Launches on new values among the timed ones; null where no round was probed."""
