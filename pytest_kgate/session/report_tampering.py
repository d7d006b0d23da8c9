"""Holds what is told of a session's tests to what their records demand.

Code that runs in the process can swallow a gate's failure before pytest sees it, turn a failed report into a passed
one, or set the exit status to 0. So each record whose verdict demands a failure is noted before that is raised, and is
compared with what is told in the end.
"""

from __future__ import annotations

import traceback

_CALLERS = frozenset({"pytest_pyfunc_call", "call_fixture_func"})
"""The functions of pytest that call a test's or a fixture's: a failure that has come so far has left it."""


class Outcomes:
    """The failures that records demand, by test, and what was told of them."""

    def __init__(self) -> None:
        self._raised: dict[str, list[BaseException | None]] = {}
        """For each record that demands a failure, what was raised; of tests that may still handle it."""
        self._demanded: set[str] = set()
        self._told: dict[str, set[str]] = {}

    def begin(self, test: str) -> None:
        """The test starts, or starts again."""
        self._settle()
        self._demanded.discard(test)
        self._told.pop(test, None)

    def demand(self, test: str) -> None:
        """A record demands that the test fails; what is raised next says so."""
        self._raised.setdefault(test, []).append(None)

    def raised(self, test: str, failure: BaseException, records: int = 1) -> None:
        """The failure that the latest records of the test demanded is on its way."""
        self._raised[test][-records:] = [failure] * records

    def must_fail(self, test: str) -> bool:
        """Whether a record demands that, and the test's own function has not caught the failure on purpose."""
        self._settle()
        return test in self._demanded

    def told(self, test: str, outcome: str, *, must_fail: bool = False) -> None:
        """What everyone is told of a phase of the test. `must_fail` is what a worker of xdist says of it.

        Of a test that failed, expected failures are reported as skipped, and tests that are run again as something of
        their own.
        """
        if must_fail:
            self._demanded.add(test)
        if self.must_fail(test):
            self._told.setdefault(test, set()).add(outcome)

    def rewritten(self) -> list[str]:
        """One sentence for each test that should have failed, and was told to have passed, or not told of at all."""
        self._settle()
        sentences = []
        for test in sorted(self._demanded):
            told = self._told.get(test, set())
            if not told - {"passed"}:
                but = "yet it was reported as passed" if told else "yet no report said so"
                sentences.append(f"{test}: its gate failed, {but}.")
        return sentences

    def masked(self, exit_status: int) -> str | None:
        """One sentence where failed gates end in success."""
        failed = [test for test in self._demanded if "failed" in self._told.get(test, ())]
        if exit_status != 0 or not failed:
            return None
        return f"{min(failed)} failed, and the exit status of the session was changed to 0."

    def _settle(self) -> None:
        """Decide of what was raised whether it has left its test; exceptions hold all that their frames do."""
        for test, failures in self._raised.items():
            if not all(failure is not None and _was_caught(failure) for failure in failures):
                self._demanded.add(test)
        self._raised.clear()


def _was_caught(failure: BaseException) -> bool:
    """Whether the failure ended within the test's function, as one does in `pytest.raises`."""
    functions = (frame.f_code.co_name for frame, _ in traceback.walk_tb(failure.__traceback__))
    return _CALLERS.isdisjoint(functions)
