"""What the integrity checks of one `kbench` call have found: which ran, reasons against its gates, warnings."""

from __future__ import annotations

from dataclasses import dataclass

CHECKS = ("originals", "state", "zones", "stream", "memory", "host", "threads", "floor", "kernels")
"""Names in the record, in the order in which they first run; docs/integrity.md says what each looks at."""

NAMED = 6
"""How many names a sentence lists at most."""


@dataclass(frozen=True)
class Finding:
    """One reason why a gate's measurements are INVALID."""

    check: str
    """One of `CHECKS`, or `clean` for what a clean process says."""
    reason: str
    """A sentence for the verdict."""


class Findings:
    """The findings of all checks of one call, in the order in which they came."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.warnings: list[str] = []
        self.ran: dict[str, str] = {}
        """By names of `CHECKS`: `passed`, `found`, or `not run: ` and why."""

    def report(self, check: str, reason: str) -> None:
        """Take in what a check has found: one of `CHECKS` or `clean`, and a sentence."""
        self.ran[check] = "found"
        if not any(one.reason == reason for one in self.all):
            self.all.append(Finding(check, reason))

    def warn(self, warning: str) -> None:
        """Take in a sentence that goes with the record and changes no verdict."""
        if warning not in self.warnings:  # a candidate may do it in each phase
            self.warnings.append(warning)

    def reason(self) -> str | None:
        """The first finding as a sentence, for the verdict; None where nothing was found."""
        return self.all[0].reason if self.all else None
