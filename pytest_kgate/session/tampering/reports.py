"""Holds what is told of a session's tests to what their records demand.

Code that runs in the process can swallow a gate's failure before pytest sees it, turn a failed report into a passed
one, mark a test as expected to fail, or set the exit status to 0. So each record whose verdict demands a failure is
noted before that is raised, and is compared with what is told in the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from types import CodeType
from types import FrameType
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple
from typing import Protocol
from typing import TypedDict

from pytest_kgate.errors import is_a
from pytest_kgate.errors import traceback_of
from pytest_kgate.session.tampering.own_code import came_through
from pytest_kgate.session.tampering.own_code import codes_of
from pytest_kgate.session.tampering.own_code import goes_on
from pytest_kgate.session.tampering.own_code import own_frame

if TYPE_CHECKING:
    import pytest

_UNITTESTS = "__unittest_expecting_failure__"
"""What `unittest.expectedFailure` sets."""

_NAMED = 3
"""Of tests that have caught a failure, named in the summary."""


class Demand(TypedDict):
    """What a worker of xdist says of a test with its report, in built-in types."""

    must_fail: bool
    """A record demands that, and the test has not caught the failure itself."""
    expected: bool
    """The failure may be reported as skipped, as that of a test is which is expected to fail."""
    caught: bool
    """The test has caught the failure of a gate, and so may pass."""


class _Collected(NamedTuple):
    """A test as it was before any candidate ran."""

    codes: frozenset[CodeType]
    expected: bool
    """It is to fail, and says so."""

    @classmethod
    def of(cls, item: pytest.Item) -> _Collected:
        return cls(codes_of(item), _expected(item))


class Outcomes:
    """The failures that records demand, by test, and what was told of them."""

    def __init__(self) -> None:
        self._collected: dict[str, _Collected] = {}
        self._raised: dict[str, list[FrameType | None]] = {}
        """For each record that demands a failure, the test's own frame that was told; of tests that may handle it."""
        self._demanded: set[str] = set()
        self._caught: set[str] = set()
        self._called: set[str] = set()
        """Tests that have called `kbench`: what is marked from then on may be a candidate's doing."""
        self._expected: set[str] = set()
        self._told: dict[str, set[str]] = {}

    def collected(self, items: Iterable[pytest.Item]) -> None:
        """Take note of the tests that were collected, before any candidate has run."""
        alike: dict[_Collected, _Collected] = {}  # of a parametrized test's ten thousand, one is kept
        for item in items:
            found = _Collected.of(item)
            self._collected[item.nodeid] = alike.setdefault(found, found)

    def comes(self, item: pytest.Item) -> None:
        """The test is the next one. A mark that it did not have when it was collected is none of its own."""
        known = self._collected.get(item.nodeid)
        if known is not None and _expected(item) and not known.expected:
            self._called.add(item.nodeid)

    def begin(self, test: str) -> None:
        """Take note that the test starts, or starts again."""
        self._settle()
        self._demanded.discard(test)
        self._caught.discard(test)
        self._told.pop(test, None)

    def called(self, item: pytest.Item) -> None:
        """The test calls `kbench`: fixtures and the test may have marked it as expected to fail, up to now."""
        if item.nodeid not in self._collected:
            self._collected[item.nodeid] = _Collected.of(item)
        if item.nodeid not in self._called and _expected(item):
            self._expected.add(item.nodeid)
        self._called.add(item.nodeid)

    def demand(self, test: str) -> None:
        """A record demands that the test fails; what is raised next says so."""
        self._raised.setdefault(test, []).append(None)

    def raising(self, test: str, records: int = 1) -> None:
        """The failure that the latest records of the test demanded is about to be raised, in this thread."""
        self._raised[test][-records:] = [own_frame(self._codes(test))] * records

    def ended(self, test: str, exception: BaseException | None, xfail: type[BaseException]) -> None:
        """The test has ended with this exception; its own `pytest.xfail()` raises one of that type."""
        if exception is None or not is_a(exception, xfail):
            return
        if came_through(traceback_of(exception), self._codes(test)):
            self._expected.add(test)

    def must_fail(self, test: str) -> bool:
        """Whether a record demands that, and the test's own function has not caught the failure on purpose."""
        self._settle()
        return test in self._demanded

    @property
    def demands_failure(self) -> bool:
        """Whether a record demands that of any test."""
        self._settle()
        return bool(self._demanded)

    def demand_of(self, test: str) -> Demand:
        """What the controller of xdist is told of the test."""
        must_fail = self.must_fail(test)
        return {"must_fail": must_fail, "expected": test in self._expected, "caught": test in self._caught}

    def told(self, test: str, outcome: str, demand: Demand | None = None) -> None:
        """What everyone is told of a phase of the test. `demand` is what a worker of xdist says of it.

        Of a test that failed, expected failures are reported as skipped, and tests that are run again as something of
        their own.
        """
        if demand is not None:
            for said, tests in (("must_fail", self._demanded), ("expected", self._expected), ("caught", self._caught)):
                if demand[said]:  # type: ignore[literal-required]
                    tests.add(test)
        if self.must_fail(test):
            self._told.setdefault(test, set()).add(outcome)

    def rewritten(self) -> list[str]:
        """One sentence for each test that should have failed, and was told to be something else, or not told of."""
        self._settle()
        sentences = []
        for test in sorted(self._demanded):
            told = self._told.get(test, set())
            if not told - {"passed", "skipped"} and not (test in self._expected and "skipped" in told):
                how = "skipped" if "skipped" in told else "passed"
                but = f"yet it was reported as {how}" if told else "yet no report said so"
                sentences.append(f"{test}: its gate failed, {but}.")
        return sentences

    def caught(self) -> str | None:
        """A sentence of the tests that have caught a failure themselves, and so may have passed."""
        self._settle()
        tests = sorted(self._caught - self._demanded)
        if not tests:
            return None
        more = f" and {len(tests) - _NAMED} more" if len(tests) > _NAMED else ""
        which = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
        return f"{which} caught the failure of a gate, which is then no failure: {', '.join(tests[:_NAMED])}{more}"

    def masked(self, exit_status: int) -> str | None:
        """One sentence where failed gates end in success."""
        failed = [test for test in self._demanded if "failed" in self._told.get(test, ())]
        if exit_status != 0 or not failed:
            return None
        return f"{min(failed)} failed, and the exit status of the session was changed to 0."

    def _codes(self, test: str) -> frozenset[CodeType]:
        known = self._collected.get(test)
        return frozenset() if known is None else known.codes

    def _settle(self) -> None:
        """Decide of what was raised whether it has left its test; frames hold all that their functions do."""
        for test, frames in self._raised.items():
            caught = all(frame is not None and goes_on(frame) for frame in frames)
            (self._caught if caught else self._demanded).add(test)
        self._raised.clear()


class Ended(Protocol):
    """A session, as far as its end goes."""

    exit_status: int | None
    """pytest's, once the session has finished."""
    is_worker: bool
    outcomes: Outcomes


def seen_to_the_end(session_of: Callable[[], Ended | None]) -> Generator[None, Any, Any]:
    """The exit status, for the hook around the whole session, which is chosen before any candidate runs.

    What a candidate makes of the status once the session has finished, or raises in hooks of its own, comes through.
    """
    try:
        status = yield
    except SystemExit as error:
        status = error.code
        if status or not _must_fail(session_of()):
            raise
    session = session_of()
    if status or session is None or not _must_fail(session):
        return status
    sys.stderr.write("pytest-kgate: the session failed, and its exit status was changed to 0 afterwards.\n")
    return session.exit_status or 1


def _must_fail(session: Ended | None) -> bool:
    """Whether the session failed as it finished; of one that never did, whether a record demands that."""
    if session is None or session.is_worker:
        return False
    return bool(session.exit_status) if session.exit_status is not None else session.outcomes.demands_failure


def _expected(item: Any) -> bool:
    """Whether the test is marked `xfail`, or itself or its class is decorated with `unittest.expectedFailure`."""
    its = (getattr(item, "function", None), getattr(item, "cls", None))
    return item.get_closest_marker("xfail") is not None or any(getattr(one, _UNITTESTS, False) is True for one in its)
