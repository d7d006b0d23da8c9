"""What lives as long as the pytest session: options, devices, records, and what is said about them at the end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.device.open import assigned
from pytest_kgate.device.open import open_device
from pytest_kgate.profile.under_tool import launch_only
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.session.options.options import Options
from pytest_kgate.session.report_tampering import Outcomes

if TYPE_CHECKING:
    from pytest_kgate.bench.processes.child import Child
    from pytest_kgate.bench.race.reference import ReferencePicker
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.record import Record

SESSION = pytest.StashKey["Session"]()
RECORDS = pytest.StashKey["list[Record]"]()
"""On an item: the records of its calls, for the report that carries them to the controller."""

_NAMED = 10
"""So many of the tests that were not run are named."""


class Session:
    """One per process; under xdist the controller's holds the records and the workers' hold the devices."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self.records: list[Record] = []
        self.messages: list[str] = []
        """About the file of records, for the end of the session."""
        self.notes: list[str] = []
        """About all gates together."""
        self.failures: list[str] = []
        """Gates that passed on their own, but not together with the others."""
        self.exit_status = 0
        """pytest's, once the session has finished."""
        self.outcomes = Outcomes()
        self.child: Child | None = None
        """In a session that measures for a gate of another session."""
        self.is_worker = hasattr(config, "workerinput")
        keeps_records = not self.is_worker and not launch_only.active()
        self._file = RecordFile(options.json) if options.json is not None and keeps_records else None
        self._devices: dict[str, Device] = {}
        self._attempts: Counter[str] = Counter()
        self._missed: set[str] = set()
        """Tests whose latest run has missed a gate."""
        self._calls: Counter[str] = Counter()
        self._emitted: list[Record] = []
        """Of the latest run of the latest test."""
        self._received: set[tuple[str, int, str]] = set()
        self._environment: dict[str, Any] | None = None
        self._picker: ReferencePicker | None = None

    @property
    def picker(self) -> ReferencePicker:
        """Made when first needed, as all that imports torch."""
        if self._picker is None:
            from pytest_kgate.bench.race.reference import ReferencePicker

            self._picker = ReferencePicker()
        return self._picker

    @property
    def environment(self) -> dict[str, Any]:
        """Facts that hold for the whole session."""
        if self._environment is None:
            from pytest_kgate.system.environment import session_environment

            self._environment = session_environment(self.config.rootpath)
        return self._environment

    def device(self, spec: str | None = None) -> Device:
        """The device of `spec` (None: of --kgate-device), opened once; raises `DeviceMissing`."""
        spec = assigned(spec or self.options.device, os.environ.get("PYTEST_XDIST_WORKER", ""))
        if spec not in self._devices:
            self._devices[spec] = open_device(spec, timeout_seconds=self.options.timeout)
        return self._devices[spec]

    def begin(self, item: pytest.Item) -> None:
        """A test starts, or starts again: plugins that rerun failed tests do so in the same process."""
        self.outcomes.begin(item.nodeid)
        self._calls[item.nodeid] = 0
        self._emitted = []
        if item.nodeid in self._missed:
            self._missed.remove(item.nodeid)
            self._attempts[item.nodeid] += 1

    def attempt_of(self, item: pytest.Item) -> int:
        """1 for a test's first run, one more for each that missed a gate; a run again after a pass is no new try.

        pytest-rerunfailures counts too, and knows of runs in workers that crashed.
        """
        counted = getattr(item, "execution_count", 1)
        return max(1 + self._attempts[item.nodeid], counted if isinstance(counted, int) else 1)

    def calls_of(self, test: str) -> int:
        """How often this run of a test has called `kbench`."""
        return self._calls[test]

    def records_of_run(self) -> tuple[Record, ...]:
        """Of the `kbench` calls so far in the run of the test that is under way."""
        return tuple(self._emitted)

    def next_call(self, test: str) -> int:
        """0 for the first `kbench` call of this run of a test, then 1, and so on."""
        self._calls[test] += 1
        return self._calls[test] - 1

    def emit(self, item: pytest.Item, record: Record) -> None:
        """Keep a record and write it to disk; in a worker, send it with the test's report instead."""
        if record["verdict"] not in ("PASS", "MEASURED"):
            self._missed.add(item.nodeid)
        self._emitted.append(record)
        if self.is_worker:
            item.stash.setdefault(RECORDS, []).append(record)
        else:
            self.receive([record])

    def receive(self, records: Iterable[Record]) -> None:
        """Take records in, from this process or a worker."""
        for record in records:
            identity = (record["test"], record["call"], record["started"])
            if identity in self._received:  # the report of a rerun carries the records of all runs
                continue
            self._received.add(identity)
            self.records.append(record)
            if self._file is not None:
                self._file.append(record)

    def judge_together(self) -> bool:
        """Judge all tests' gates under --kgate-fdr, and whether reports and records say what was judged; True: fail."""
        from pytest_kgate.bench.race import resolution as advice
        from pytest_kgate.report import false_discovery as multiplicity

        rate = self.options.fdr
        if rate is not None:
            self.records, lines = multiplicity.control(self.records, rate)
            self.failures += lines
        expected = multiplicity.expectation(self.records)
        if expected:
            self.notes.append(expected)
        self.notes += advice.summary(self.records)
        self.failures += self.outcomes.rewritten()
        self.close()
        if self._file is not None and self._file.tampered:
            self.failures.append("The file of records was changed while the tests ran; see below.")
        return bool(self.failures)

    def close(self) -> None:
        """Close the file of records; whatever went wrong with it is in `messages` afterwards."""
        if self._file is not None:
            self.messages += self._file.close()

    def end_now(self, complaint: str) -> None:
        """End the process because a candidate is stuck in native code; called from the watchdog's thread."""
        self.close()
        where = f" The records so far are in {self.options.json}." if self._file is not None else ""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        text = (
            f"\npytest-kgate: {complaint}, and it can't be interrupted, so the session ends here.{where}\n"
            f"{self._not_run(test)}Deselect the test to run the others: {test}\n"
        )
        with contextlib.suppress(Exception):
            capture = self.config.pluginmanager.getplugin("capturemanager")
            if capture is not None:
                capture.suspend_global_capture(in_=True)
            for line in (*self.messages, text):
                sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        os._exit(pytest.ExitCode.INTERNAL_ERROR)

    def _not_run(self, test: str) -> str:
        """Which tests come after this one; nothing in a worker, whose others run elsewhere."""
        items = getattr(self.config.pluginmanager.get_plugin("session"), "items", [])
        tests = [item.nodeid for item in items]
        if self.is_worker or test not in tests[:-1]:
            return ""
        left = tests[tests.index(test) + 1 :]
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        return f"Not run: {', '.join(left[:_NAMED])}{more}.\n"

    @property
    def hung_device(self) -> bool:
        """Whether a kernel still runs that will not end: the process can then not exit in the usual way."""
        return any(device.hung for device in self._devices.values())
