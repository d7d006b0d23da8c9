"""The table of verdicts: what each means, and what follows from it for the test, the session, and all that is shown.

Whoever decides by a verdict asks its row, so that a new verdict is a new row and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Literal

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import RecordVerdict
    from pytest_kgate.statistics.gate_facts import GateFacts

Reported = Literal["passed", "failed", "skipped", "warned"]
"""What pytest reports of a test; `warned` is passed, with a warning."""

EXIT_STATUS: Mapping[Reported, int] = MappingProxyType({"passed": 0, "failed": 1, "skipped": 0, "warned": 0})
"""pytest's, of a session with one such test and nothing else amiss."""


@dataclass(frozen=True)
class VerdictRow:
    """All that follows from one verdict."""

    verdict: RecordVerdict

    rank: int
    """The verdict of a record is the one of lowest rank among those of its gates, of its check and of its limits."""

    reported: Reported
    """Of the test, where no option says otherwise."""

    meaning: str
    """For the documentation, in Markdown."""

    style: str
    """Of the word on a terminal, as rich names it."""

    by_option: Mapping[str, Mapping[object, Reported]] = field(default_factory=dict)
    """What is reported in place of `reported`: an option's name, and what each of its values says."""

    but: str = ""
    """What else an option can make of it, for the documentation."""

    timed: bool = True
    """Whether the candidate's latency says anything."""

    of_gates: bool = True
    """Whether it is about how the latencies compare; else there was nothing that could be compared."""

    @property
    def passes(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return self.reported == "passed"

    def reported_under(self, options: object) -> Reported:
        """What pytest reports of the test under these options of it."""
        for name, reported in self.by_option.items():
            return reported[getattr(options, name)]
        return self.reported


VERDICTS: Mapping[RecordVerdict, VerdictRow] = MappingProxyType(
    {
        row.verdict: row
        for row in (
            VerdictRow(
                "PASS",
                rank=7,
                reported="passed",
                meaning="what is demanded holds: a right answer, the whole interval of the ratio below the bound",
                style="green",
                but="`--kgate-fdr` may fail the session in the end",
            ),
            VerdictRow(
                "FAIL",
                rank=3,
                reported="failed",
                meaning="the interval of the ratio lies above the bound, or a limit is broken",
                style="bold red",
            ),
            VerdictRow(
                "WRONG",
                rank=1,
                reported="failed",
                meaning="the answer is wrong; nothing was timed",
                style="bold red",
                timed=False,
                of_gates=False,
            ),
            VerdictRow(
                "ERROR",
                rank=0,
                reported="failed",
                meaning="there is no answer, or a `sanitize` marker's tool found a fault",
                style="bold red",
                timed=False,
                of_gates=False,
            ),
            VerdictRow(
                "INVALID",
                rank=2,
                reported="failed",
                meaning="the measurement is not to be trusted; the reason is given",
                style="magenta",
                of_gates=False,
            ),
            VerdictRow(
                "INCONCLUSIVE",
                rank=4,
                reported="failed",
                meaning="the budget (10 s a race) ended first; a ratio at the bound never gets decided",
                style="yellow",
                by_option={"inconclusive": {"fail": "failed", "skip": "skipped", "warn": "warned"}},
            ),
            VerdictRow(
                "WEAK",
                rank=5,
                reported="failed",
                meaning="all that is demanded holds, but zeros, a constant or a remembered answer would pass too",
                style="yellow",
                but='`weak="allow"` of the `perf` marker or of `kbench` makes it PASS',
                of_gates=False,
            ),
            VerdictRow(
                "NOT MEASURED",
                rank=6,
                reported="skipped",
                meaning="what a limit is about can't be measured here; the reason is given",
                style="yellow",
                by_option={"require_metrics": {False: "skipped", True: "failed"}},
            ),
            VerdictRow(
                "MEASURED",
                rank=8,
                reported="passed",
                meaning="nothing was demanded, or `--kgate-rounds` asked for no verdict",
                style="cyan",
            ),
        )
    }
)
"""By the verdict, in the order in which they are counted and documented."""


def worst(verdicts: Iterable[RecordVerdict]) -> RecordVerdict:
    """The verdict of lowest rank; MEASURED where there is none."""
    return min(verdicts, key=lambda verdict: VERDICTS[verdict].rank, default="MEASURED")


def reported(record: Record, options: object) -> Reported:
    """What pytest reports of the record's test under these options of it: failed where a limit alone says so, too.

    Of a race against another revision that could not be run, a warning: the test's own gates decide.
    """
    if "against" in record and record["verdict"] == "NOT MEASURED":
        return "warned"
    verdicts = [record["verdict"], *(limit["verdict"] for limit in record.get("limits", ()))]
    found = [VERDICTS[verdict].reported_under(options) for verdict in verdicts]
    return "failed" if "failed" in found else found[0]


def overall_verdict(
    gates: Iterable[GateFacts],
    correctness: CorrectnessFacts | None = None,
    ran: bool = True,
) -> RecordVerdict:
    """The verdict of a record: the worst of its gates and of the correctness check.

    `ran` is False where the candidate could not be built, raised, hung or faulted.
    """
    found: list[RecordVerdict] = [gate["verdict"] for gate in gates]
    if correctness is not None:
        found.append("WRONG" if correctness["verdict"] == "FAIL" else correctness["verdict"])
    if not ran:
        found.append("ERROR")
    return worst(found)


def with_limits(record: Record, limits: Sequence[LimitFacts]) -> Record:
    """A finished record with these limits behind those that it has; its verdict is the worst of all then.

    Its reason stays that of the gates or of the check where no limit is worse.
    """
    if not limits:
        return record
    changed: Record = {**record, "limits": [*record.get("limits", ()), *limits]}
    verdict = worst([record["verdict"], *(limit["verdict"] for limit in limits)])
    if verdict != record["verdict"]:
        changed["verdict"] = verdict
        changed["reason"] = next(limit["reason"] for limit in limits if limit["verdict"] == verdict)
    return changed


_TEST: Mapping[Reported, str] = MappingProxyType(
    {"passed": "passes", "failed": "fails", "skipped": "is skipped", "warned": "passes, with a warning"}
)


def documented() -> str:
    """The table of verdicts in Markdown, for the documentation."""
    lines = ["| verdict | meaning | the test | pytest's exit status |", "| --- | --- | --- | --- |"]
    for row in VERDICTS.values():
        test = [_TEST[row.reported]]
        for name, by_value in row.by_option.items():
            others = [value for value, reported in by_value.items() if reported != row.reported]
            flag = f"`--kgate-{name.replace('_', '-')}`"
            if others == [True]:  # a switch has no word for it
                test.append(f"{_TEST[by_value[True]]} under {flag}")
            else:
                test.append(f"{flag} may say {' or '.join(map(str, others))}")
        test += [row.but] if row.but else []
        lines.append(f"| {row.verdict} | {row.meaning} | {'; '.join(test)} | {EXIT_STATUS[row.reported]} |")
    return "\n".join(lines)
