"""What a record is: the JSON-able account of one `kbench` call with all its gates.

At run time a record is a dict of built-in types, for xdist, journals and users' code take it as such. Its types say
which keys there are and what they hold. The strings in `Annotated` are what else holds of a value: `>= 0`, `< 1`,
`length 2` of a list, `pattern` of a string, `format date-time`. records.schema.json beside this file is made of these
classes and of their docstrings: `python tests/support/record_schema.py` writes it anew.

This module and those of the parts are needed by type checkers only. Who is loaded at the start of each pytest session
imports them under `TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any
from typing import Literal
from typing import TypedDict

from pytest_kgate.problems.published.flashinfer_bench.facts import FlashInferBenchFacts
from pytest_kgate.problems.published.kernelbench.facts import KernelBenchFacts
from pytest_kgate.problems.published.task_folder.facts import TaskFolderFacts
from pytest_kgate.report.record.facts.asked import AgainstFacts
from pytest_kgate.report.record.facts.asked import AskedFacts
from pytest_kgate.report.record.facts.asked import SeedsFacts
from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
from pytest_kgate.report.record.facts.correctness import SelftestFacts
from pytest_kgate.report.record.facts.counters import CountersFacts
from pytest_kgate.report.record.facts.insights import InsightFacts
from pytest_kgate.report.record.facts.integrity import IntegrityFacts
from pytest_kgate.report.record.facts.integrity import IsolationFacts
from pytest_kgate.report.record.facts.limits import LimitFacts
from pytest_kgate.report.record.facts.limits import RooflineFacts
from pytest_kgate.report.record.facts.memory import MemoryFacts
from pytest_kgate.report.record.facts.sanitizer import SanitizerFacts
from pytest_kgate.report.record.facts.timing import MeasuredFacts
from pytest_kgate.report.record.facts.timing import TimingFacts
from pytest_kgate.statistics.gate_facts import GateFacts
from pytest_kgate.statistics.gate_facts import Number

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

RecordVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID", "WRONG", "ERROR", "WEAK", "NOT MEASURED", "MEASURED"]
"""Of a whole call; `verdicts.VERDICTS` says what follows from each."""

Schema = Literal["pytest-kgate/records"]
"""What kind of file it is; the text itself is `document.SCHEMA`."""

Version = Literal[1]
"""Of the layout of a file of records; the number itself is `document.VERSION`."""


class InputFacts(TypedDict):
    """One input of a problem."""

    shape: list[Annotated[int, ">= 0"]]
    """Its extents."""
    dtype: str
    """As torch names it: `float16`."""


class ProblemFacts(TypedDict):
    """The workload: what was computed, on which inputs."""

    name: str
    """As tables show it."""
    shape: Annotated[list[Annotated[int, ">= 1"]], "length 4"] | None
    """Of attention: batch, heads, seqlen, head_dim."""
    causal: bool | None
    """Of attention: whether a row sees only the keys up to its own."""
    dtype: str | None
    """Of the inputs, as torch names it: `float16`."""
    flops: float | None
    """Floating-point operations of one call."""
    bytes: float | None
    """Bytes of one call that must cross device memory."""
    inputs: NotRequired[list[InputFacts]]
    """Their shapes and types."""
    params: dict[str, Any]
    """Constants that all arms are called with. Open: they are the user's."""
    kernelbench: NotRequired[KernelBenchFacts]
    """Of a problem that was read from a file of KernelBench."""
    flashinfer_bench: NotRequired[FlashInferBenchFacts]
    """Of a problem that was read from a definition and a workload of flashinfer-bench."""
    task_folder: NotRequired[TaskFolderFacts]
    """Of a problem that was read from a task folder of gpu-mode/reference-kernels."""


class KernelFacts(TypedDict):
    """What ptxas reports of one kernel; what else it reports may be here, too."""

    kernel: str
    """Its name."""
    registers: NotRequired[Annotated[int, ">= 0"]]
    """Of a thread."""
    shared_bytes: NotRequired[Annotated[int, ">= 0"]]
    """Static shared memory of a block."""
    stack_bytes: NotRequired[Annotated[int, ">= 0"]]
    """Local memory of a thread, spills included."""
    spill_store_bytes: NotRequired[Annotated[int, ">= 0"]]
    """Of a thread: what its instructions store because registers are short."""
    spill_load_bytes: NotRequired[Annotated[int, ">= 0"]]
    """Of a thread: what its instructions load because registers are short."""
    spill_bytes: NotRequired[Annotated[int, ">= 0"]]
    """Stores and loads together."""
    arch: NotRequired[str | None]
    """`sm_90a`."""


class CandidateFacts(TypedDict):
    """The callable under test, with what is known of its build."""

    name: str
    """As tables show it."""
    implementation: str | None
    """A shipped one, by its name in csrc/impl_selector.h."""
    knobs: dict[str, int]
    """Compile-time constants that were chosen."""
    source_hash: str | None
    """Of the source and its headers."""
    flags: list[str]
    """Of the compiler."""
    arch: str | None
    """`sm_90a`."""
    ignored_params: NotRequired[list[str]]
    """Params of the problem that the candidate has no parameter for, so that it was called without them."""
    takes_out: NotRequired[bool]
    """Whether it takes `out`, a tensor to write to; of an isolated one, as its own process says."""
    weights: NotRequired[str]
    """Of a KernelBench solution: where its weights come from, such as `6 of 6 copied by name`; of an isolated one, as
    its own process says."""
    other_weights: NotRequired[list[str]]
    """Of a wrong torch.nn.Module: its weights whose values are not those of the reference's of the same names."""
    training: NotRequired[list[str]]
    """Of a wrong torch.nn.Module: its kinds of layers that are in training mode, and do something else there."""
    resources: list[KernelFacts]
    """ptxas's report, one entry for each kernel of the library."""


class ReferenceFacts(TypedDict):
    """What the candidate was raced against."""

    name: str
    """As tables show it."""
    backend: str | None
    """Which of several references was the fastest, and raced: `cudnn`."""
    choices: dict[str, Number]
    """Seconds of each reference that ran in the short race before."""
    refused: NotRequired[dict[str, str]]
    """Why the others did not run."""


class Record(TypedDict):
    """The record of one kbench call."""

    test: Annotated[str, "length >= 1"]
    """The test's node id in pytest."""
    call: Annotated[int, ">= 0"]
    """0 for the test's first kbench call, 1 for its second."""
    attempt: NotRequired[Annotated[int, ">= 1"]]
    """1 for the test's first run, 2 for its first rerun by another plugin."""
    started: Annotated[str, "format date-time"]
    """When the call began, with the time zone."""
    verdict: RecordVerdict
    """The worst of the gates, of the limits and of the correctness check.

    ERROR: the candidate could not run. WRONG: its answer is not the exact one. WEAK: the check would also
    let an answer without any work pass. NOT MEASURED: what a limit is about could not be measured. MEASURED: nothing
    was demanded, or no verdict was asked for.
    """
    reason: str
    """Why the verdict is not PASS; empty where it is."""
    at_fault: NotRequired[Literal["problem"]]
    """Where an ERROR is the problem's own, whose inputs, reference or exact answer can't be had: the candidate was not
    judged. Missing in all other records."""
    problem: ProblemFacts
    """The workload."""
    candidate: CandidateFacts
    """The callable under test."""
    reference: ReferenceFacts | None
    """What the candidate was raced against; null where the call ended before one was chosen."""
    sanitizer: NotRequired[SanitizerFacts | None]
    """What compute-sanitizer found before the check; null where no sanitize marker asked for it."""
    correctness: CorrectnessFacts | None
    """The comparison with the exact answer; null where it did not come to that."""
    selftest: NotRequired[SelftestFacts]
    """Under --kgate-selftest, what became of mutants."""
    isolation: NotRequired[IsolationFacts]
    """Under --kgate-isolate, what the candidate's process was asked to do."""
    gates: list[GateFacts]
    """The latency gates, in the order of their markers; empty where none is set or the race did not happen."""
    limits: NotRequired[list[LimitFacts]]
    """What else is demanded, in the order in which it was judged; missing where nothing is."""
    roofline: NotRequired[RooflineFacts]
    """By what the device was seen to attain; missing where that is not known, or the problem has none.

    It is measured where a `speed_of_light` marker asks, and by `kgate roofline`.
    """
    timing: TimingFacts | None
    """The race; null where it did not happen."""
    measured: NotRequired[MeasuredFacts]
    """Under --kgate-rounds: the call only measured."""
    counters: NotRequired[CountersFacts]
    """What Nsight Compute counted in a run beside the race; missing where nobody asked for it."""
    insights: NotRequired[list[InsightFacts]]
    """Why the candidate is as fast as it is, what explains most first; missing where nothing was read of it."""
    integrity: NotRequired[IntegrityFacts | None]
    """What was looked at beside the answer; null where the call ended before that."""
    seeds: SeedsFacts
    """What repeats the call."""
    seconds: NotRequired[dict[str, Annotated[float, ">= 0"]]]
    """Of the whole call by purpose, each second counted once.

    `lease` (waiting for other sessions on the device), `roofline` (where it had to be measured), `draw`, `exact`,
    `reference`, `candidate`, `capture`, `compare` (inputs, with what they were), `settle`, `warm-up`, `probes`,
    `timed`, `start` (of the processes of an isolated candidate), and what `check`, `race`, `verify`, `integrity`,
    `clean` and all `other` take besides.
    """
    memory: NotRequired[MemoryFacts]
    """What the call was to hold at once; missing where it ended before that was known."""
    asked: NotRequired[AskedFacts]
    """How it was asked for."""
    against: NotRequired[AgainstFacts]
    """Where the candidate was to be raced against what it was at another revision; missing in all other records."""
    sources: NotRequired[dict[str, Annotated[str, "pattern ^[0-9a-f]{32}$"]]]
    """Of the test's file, and of the candidate's or its kernel's where it is known: BLAKE2b of the content, by the path
    from the root of their git repository. Missing where there is none."""
    environment: dict[str, Any]
    """Device, clocks, versions, git revision: what a reader needs to judge whether two records compare.

    Open: each kind of device has its own facts.
    """
    warnings: list[str]
    """What a reader must know, one sentence each."""


class RecordsDocument(TypedDict):
    """What `pytest --kgate-json PATH` writes: one record for each kbench call. Times are seconds."""

    schema: Schema
    """What kind of file this is."""
    version: Version
    """Of the layout of the file."""
    created: Annotated[str, "format date-time"]
    """When the session began to write it."""
    records: list[Record]
    """In the order in which they were made."""
