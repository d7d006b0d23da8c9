"""The tables that `kgate selftest` prints: which problems' checks are weak, and which mutants they let pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.text.render import table_lines

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_NARROWEST = 60


def selftest_table(records: Sequence[Record], width: int = 100, color: bool = False) -> str:
    """A table with one line a problem, another with one line a mutant, and the share of mutants that were found.

    No line is longer than `width` characters, down to 60.

    A problem that several tests check in the same way, with the same outcome, has one line. Empty without a selftest.
    """
    tested = list({_identity(record): record for record in records if record.get("selftest")}.values())
    if not tested:
        return ""
    width = max(width, _NARROWEST)
    lines = [*_problems(tested, width, color), "", *_mutants(tested, width, color), ""]
    killed = sum(record["selftest"]["killed"] for record in tested)
    total = killed + sum(len(record["selftest"]["lived"]) for record in tested)
    weak = sum(bool(record["selftest"]["lived"]) for record in tested)
    rate = text.percent(killed / total) if total else "none"
    lines.append(
        f"{killed} of {total} mutants died ({rate}); checks of {text.counted(len(tested), 'problem')}, {weak} weak"
    )
    return "\n".join(lines)


def _identity(record: Record) -> tuple[object, ...]:
    fates = tuple((one["name"], one["outcome"], one["check"]) for one in record["selftest"]["mutants"])
    return record["problem"]["name"], fates


def _problems(records: Sequence[Record], width: int, color: bool) -> list[str]:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("problem", overflow="fold", max_width=width // 2)
    table.add_column("died", justify="right", no_wrap=True)
    table.add_column("lived", overflow="fold")
    for record in records:
        found = record["selftest"]
        lived = found["lived"]
        died = f"{found['killed']}/{found['killed'] + len(lived)}"
        shown = Text(", ".join(lived), "bold red") if lived else Text("none", "green")
        table.add_row(Text(record["problem"]["name"]), died, shown)
    return table_lines(table, width, color)


def _mutants(records: Sequence[Record], width: int, color: bool) -> list[str]:
    from rich.table import Table
    from rich.text import Text

    outcomes: dict[str, Counter[str]] = {}
    checks: dict[str, Counter[str]] = {}
    for record in records:
        for fate in record["selftest"]["mutants"]:
            outcomes.setdefault(fate["name"], Counter())[fate["outcome"]] += 1
            if fate["check"]:
                checks.setdefault(fate["name"], Counter())[fate["check"]] += 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("mutant", overflow="fold", max_width=width // 2)
    table.add_column("died", justify="right", no_wrap=True)
    table.add_column("of what", overflow="fold")
    for name, counts in outcomes.items():
        died, lived = counts["killed"], counts["lived"]
        causes = [f"{check} {count}" for check, count in checks.get(name, Counter()).most_common()]
        if counts["same"]:
            causes.append(f"the right answer {counts['same']}")
        table.add_row(Text(name), f"{died}/{died + lived}", ", ".join(causes), style="bold red" if lived else None)
    return table_lines(table, width, color)
