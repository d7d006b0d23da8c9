"""Finds failed gates whose test was reported as passed, or whose session ends with exit status 0.

A hook of another plugin, registered by whatever code runs in the process, can turn a failed report into a passed one,
or set the exit status to 0. What a gate raised is noted when it is raised, and compared with what is told in the end.
"""

from __future__ import annotations


class Outcomes:
    """The tests whose gates failed, and what was told of them."""

    def __init__(self) -> None:
        self._failed: set[str] = set()
        self._told_failed: set[str] = set()
        self._rewritten: dict[str, None] = {}

    def begin(self, test: str) -> None:
        """The test starts, or starts again."""
        self._failed.discard(test)
        self._told_failed.discard(test)

    def failed(self, test: str) -> None:
        """A gate's failure has left the test's function."""
        self._failed.add(test)

    def told(self, test: str, outcome: str) -> None:
        """What everyone is told of the test's call. A plain `passed` can't follow a failure: expected failures are
        reported as skipped, and tests that are run again as something of their own."""
        if test in self._failed and outcome == "passed":
            self._rewritten[test] = None
        elif test in self._failed and outcome == "failed":
            self._told_failed.add(test)

    def rewritten(self) -> list[str]:
        """One sentence for each report that was changed."""
        return [f"{test}: its gate failed, and the report of it was changed to passed." for test in self._rewritten]

    def masked(self, exit_status: int) -> str | None:
        """One sentence where failed gates end in success."""
        if exit_status != 0 or not self._told_failed:
            return None
        return f"{min(self._told_failed)} failed, and the exit status of the session was changed to 0."
