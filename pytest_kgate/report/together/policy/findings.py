"""What became of the rules of a policy, and what each of them read. A rule says what it read, broken or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text


@dataclass(frozen=True)
class Reading:
    """What a rule read of one record."""

    problem: str
    subject: str
    """`latency on sdpa 1x8x512x64`."""
    holds: bool
    found: str
    """`0.612 [0.604, 0.619]`, or why nothing was."""


@dataclass(frozen=True)
class Finding:
    """What became of a rule."""

    rule: str
    """`speedup`."""
    line: int
    """Of the policy; 0 where it can't be read."""
    demanded: str
    holds: bool
    readings: Sequence[Reading]

    @property
    def rule_text(self) -> str:
        """`line 3, speedup: the whole interval of the ratio below 0.9 on all`."""
        return f"line {self.line}, {self.rule}: {self.demanded}" if self.line else self.demanded

    @classmethod
    def of_fault(cls, error: UsageError) -> Finding:
        """The finding of a policy that can't be read: nothing that it may demand is known to hold."""
        return cls("policy", 0, str(error), False, ())

    def told(self, most: int) -> list[tuple[bool | None, str]]:
        """What was read, each with whether it meets the rule: what made the rule hold or break stands first.

        Records of which the same was read share a line; beyond `most` lines the others are counted, with None.
        """
        if not self.line:
            return []
        if not self.readings:
            return [(False, "no record is of that")]
        alike: dict[tuple[bool, str], list[str]] = {}
        for one in sorted(self.readings, key=lambda one: one.holds != self.holds):
            alike.setdefault((one.holds, one.found), []).append(one.subject)
        lines: list[tuple[bool | None, str]] = [
            (holds, f"{subjects[0]}{f' and {len(subjects) - 1} more' if len(subjects) > 1 else ''}: {found}")
            for (holds, found), subjects in alike.items()
        ]
        left = sum(map(len, alike.values())) - sum(map(len, list(alike.values())[:most]))
        return [*lines[:most], *([(None, f"and {text.counted(left, 'more reading')}")] if left else [])]
