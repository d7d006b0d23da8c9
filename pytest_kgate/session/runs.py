"""How often each test has run, and what the `kbench` calls of the run that is under way were."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


class Runs:
    """The runs of all tests of one process. Plugins that rerun failed tests do so in the same process."""

    def __init__(self) -> None:
        self._attempts: Counter[str] = Counter()
        self._missed: set[str] = set()
        """Tests whose latest run has missed a gate."""
        self._calls: Counter[str] = Counter()
        self._records: list[Record] = []
        self._held: list[BaseException] = []

    def begin(self, test: str) -> None:
        """Take note that a test starts, or starts again."""
        self._calls[test] = 0
        self._records = []
        self._held = []
        if test in self._missed:
            self._missed.remove(test)
            self._attempts[test] += 1

    def attempt_of(self, item: pytest.Item) -> int:
        """1 for a test's first run, one more for each that missed a gate; a run again after a pass is no new try.

        pytest-rerunfailures counts too, and knows of runs in workers that crashed.
        """
        counted = getattr(item, "execution_count", 1)
        return max(1 + self._attempts[item.nodeid], counted if isinstance(counted, int) else 1)

    def calls_of(self, test: str) -> int:
        """How often this run of a test has called `kbench`."""
        return self._calls[test]

    def next_call(self, test: str) -> int:
        """0 for the first `kbench` call of this run of a test, then 1, and so on."""
        self._calls[test] += 1
        return self._calls[test] - 1

    def add(self, test: str, record: Record) -> None:
        """Take in the record of a `kbench` call of the test that has ended."""
        from pytest_kgate.report.record.verdicts import VERDICTS  # here, since every session of pytest would pay

        self._records.append(record)
        if not VERDICTS[record["verdict"]].passes:
            self._missed.add(test)

    def hold(self, outcome: BaseException) -> None:
        """A `kbench.soft` call has ended with this failure or skip, which its test has at its end."""
        self._held.append(outcome)

    def held(self) -> list[BaseException]:
        """What was held back, for the test's end; handed out once."""
        held, self._held = self._held, []
        return held

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the `kbench` calls so far, in the run of the test that is under way."""
        return tuple(self._records)
