"""What lives as long as the pytest session: options, devices, records, and what is said about them at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.integrity.tampering.exit_guard import refuse_success
from pytest_kgate.profile.under_tool.variables import watched
from pytest_kgate.session.runs import Runs
from pytest_kgate.session.tampering.reports import Outcomes

if TYPE_CHECKING:
    from pytest_kgate.bench.processes.child import Child
    from pytest_kgate.bench.processes.clean.look import CleanRoom
    from pytest_kgate.bench.race.reference import ReferencePicker
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.file import RecordFile
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.history.point import Point
    from pytest_kgate.report.together.history.store import Writer
    from pytest_kgate.session.collection.grid_budget import GridBudget

SESSION = pytest.StashKey["Session"]()
RECORDS = pytest.StashKey["list[Record]"]()
"""On an item: the records of its calls, for the report that carries them to the controller."""


class Session:
    """The state of one pytest session; under xdist the controller's holds the records, the workers' the devices."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self.records: list[Record] = []
        self.messages: list[str] = []
        """What went wrong with the file of records; the summary shows it."""
        self.notes: list[str] = []
        """What the summary says of all gates together."""
        self.failures: list[str] = []
        """Why the session fails although its tests have been reported as passed, a sentence each."""
        self.failed: set[str] = set()
        """Tests with the fixture `kbench` that have failed, in whichever phase; some of them without a record."""
        self.exit_status: int | None = None
        """pytest's, once the session has finished."""
        self.outcomes = Outcomes()
        self.runs = Runs()
        self.child: Child | None = None
        """Set in one of the processes of --kgate-processes, which measures one call for its parent."""
        self.grid_budget: GridBudget | None = None
        """Under --kgate-grid-budget."""
        self.is_worker = hasattr(config, "workerinput")
        keeps_records = not self.is_worker and not watched()
        self._file: RecordFile | None = None
        if options.json is not None and keeps_records:
            from pytest_kgate.report.record import file  # here, since every session of pytest would pay

            self._file = file.RecordFile(options.json)
        self._history: Writer | None = None
        self._earlier: list[Point] = []
        if options.compare is not None and keeps_records:
            from pytest_kgate.report.together.history import compare  # here, as above

            # At once: a name that means nothing shows before hours of races, and no gate of this session is there yet.
            self._earlier = compare.earlier(options.compare, options.history, config.invocation_params.dir)
        if options.history is not None and keeps_records:
            from pytest_kgate.report.together.history import store  # here, as above

            self._history = store.Writer(options.history)
        self.has_page = False
        """Whether the page of --kgate-html was written."""
        self._writes_page = options.html is not None and keeps_records
        if options.html is not None and self._writes_page:
            from pytest_kgate.report.page.html import write  # here, since every session of pytest would pay

            write.check(options.html, "--kgate-html")
        self._locked: dict[str, str] | None = None
        self._differs: str | None = None
        if options.locked is not None and not watched():
            from pytest_kgate.evaluation.lock import file as lock_file  # here, as above

            self._locked = lock_file.load(options.locked)
        self._devices: dict[str, Device] = {}
        self._received: set[tuple[str, int, str]] = set()
        self._environment: dict[str, Any] | None = None
        self._picker: ReferencePicker | None = None
        self._room: CleanRoom | None = None

    @property
    def picker(self) -> ReferencePicker:
        """Finds the fastest reference of a problem, and remembers it. Made at its first use, since it imports torch."""
        if self._picker is None:
            from pytest_kgate.bench.race.reference import ReferencePicker

            self._picker = ReferencePicker()
        return self._picker

    @property
    def room(self) -> CleanRoom:
        """Has the process in which gates that would pass are looked at once more. Made at its first use, as above."""
        if self._room is None:
            from pytest_kgate.bench.processes.clean.look import CleanRoom

            self._room = CleanRoom()
        return self._room

    @property
    def environment(self) -> dict[str, Any]:
        """What is the same for all records of the session: packages, the operating system, the git revision."""
        if self._environment is None:
            from pytest_kgate.system.provenance.environment import session_environment

            self._environment = session_environment(self.config.rootpath)
        return self._environment

    @property
    def devices(self) -> Iterable[Device]:
        """The devices that have been opened."""
        return self._devices.values()

    def device(self, spec: str | None = None) -> Device:
        """The device of `spec` (None: of --kgate-device), opened once; raises `DeviceMissing`."""
        from pytest_kgate.device.open import assigned  # here, since every session of pytest would pay
        from pytest_kgate.device.open import open_device

        spec = assigned(spec or self.options.device, os.environ.get("PYTEST_XDIST_WORKER", ""))
        if spec not in self._devices:
            self._devices[spec] = open_device(spec, timeout_seconds=self.options.timeout)
        return self._devices[spec]

    def faults(self) -> list[str]:
        """What has become of devices that can run nothing more in this process, a text each."""
        found = []
        for device in self.devices:
            try:
                device.synchronize()
            except KgateError as fault:
                found.append(str(fault))
        return found

    def differs(self, device: Device) -> str:
        """How this session differs from the file of --kgate-locked, in a sentence; empty where it does not."""
        if self._differs is None:
            self._differs = ""
            # A child measures for a parent, which has looked already.
            if self._locked is not None and self.options.locked is not None and self.child is None:
                from pytest_kgate.evaluation.lock.versions import differences
                from pytest_kgate.evaluation.lock.versions import versions_of

                found = "; ".join(differences(self._locked, versions_of(device, self.options)))
                self._differs = found and f"this session differs from {self.options.locked.name}: {found}"
        return self._differs

    def begin(self, item: pytest.Item) -> None:
        """Take note that a test starts, or starts again."""
        item.user_properties = [one for one in item.user_properties if not one[0].startswith("kgate.")]  # of a rerun
        self.outcomes.begin(item.nodeid)
        self.runs.begin(item.nodeid)

    def emit(self, item: pytest.Item, record: Record, options: Options) -> None:
        """Keep a record and write it to disk; in a worker, send it with the test's report instead.

        `options` are the test's own, under which its verdict may demand that the test fails.
        """
        from pytest_kgate.report.record.verdicts import reported  # here, since every session of pytest would pay

        if reported(record, options) == "failed":
            self.outcomes.demand(item.nodeid)
            if not self.is_worker:
                refuse_success()
        from pytest_kgate.report.ci.properties import properties_of

        item.user_properties += properties_of(record)
        self.runs.add(item.nodeid, record)
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
            if self._history is not None:
                from pytest_kgate.report.together.history.point import points_of

                self._history.add(points_of(record))

    def judge_together(self) -> bool:
        """Judge all tests' gates under --kgate-fdr, and whether reports and records say what was judged; True: fail."""
        from pytest_kgate.bench.race.calibration import resolution
        from pytest_kgate.report.together import false_discovery

        rate = self.options.fdr
        if rate is not None:
            self.records, lines = false_discovery.control(self.records, rate)
            self.failures += lines
        expected = false_discovery.expectation(self.records)
        if expected:
            self.notes.append(expected)
        self.notes += resolution.summary(self.records)
        self.failures += self.outcomes.rewritten()
        caught = self.outcomes.caught()
        if caught:
            self.notes.append(caught)
        self.close()
        if self._file is not None and self._file.tampered:
            self.failures.append("The file of records was changed while the tests ran; see below.")
        return bool(self.failures)

    def write_page(self) -> None:
        """Write the page of --kgate-html; what went wrong with that is in `messages` then."""
        if self.options.html is None or not self._writes_page or self.config.option.collectonly:
            return
        from pytest_kgate.report.page.html import write
        from pytest_kgate.report.page.html.page import page
        from pytest_kgate.report.together.history.store import read

        try:
            past = read(self.options.history).points if self.options.history is not None else ()
            text = page(self.records, [""] * len(self.records), [*self.notes, *self.failures], past)
            write.write(self.options.html, text)
            self.has_page = True
        except UsageError as error:
            self.messages.append(f"{error.what} All else of the session stands.")
        except Exception as error:  # a page that can't be made must not take the session's result along
            self.messages.append(f"{self.options.html} was not written ({type(error).__name__}: {error}).")

    def tables(self, width: int, color: bool) -> list[str]:
        """The summary's table and counters; pytest says how its tests ended also where these can't be made."""
        from pytest_kgate.report.text.profiled.counters import counter_lines
        from pytest_kgate.report.text.selftest import selftest_table
        from pytest_kgate.report.text.summary import summary_table
        from pytest_kgate.statistics.wording import counted

        try:
            counters = counter_lines(self.records, width) if self.options.profiles else []
            if self.options.selftest:
                return [selftest_table(self.records, width, color), *counters]
            unjudged = len(self.failed - {record.get("test") for record in self.records})
            return [summary_table(self.records, width, color, unjudged=unjudged), *counters]
        except Exception as error:
            said = f"The table of {counted(len(self.records), 'record')} could not be made"
            return [f"{said} ({type(error).__name__}: {error}). The file of --kgate-json has all of them."]

    def compared(self) -> list[str]:
        """What the summary says of this session beside the one of --kgate-compare."""
        if self.options.compare is None or not self.records:
            return []
        from pytest_kgate.report.together.history.compare import comparison
        from pytest_kgate.report.together.history.point import points_of

        now = [point for record in self.records for point in points_of(record)]
        return comparison(now, self._earlier, self.options.compare)

    @property
    def keeps_file(self) -> bool:
        """Whether records are written to a file."""
        return self._file is not None

    @property
    def lacks_records(self) -> bool:
        """Whether the file of records does not hold all of them, once the session has closed it."""
        return self._file is not None and self._file.lacks_records

    @property
    def keeps_history(self) -> bool:
        """Whether gates are added to a history, and once the session has closed it whether it has them all."""
        return self._history is not None

    def close(self) -> None:
        """End the clean process, and close the file of records; what went wrong with that is in `messages` then."""
        if self._room is not None:
            self._room.close()
        if self._file is not None:
            said = self._file.close()
            if self.lacks_records:
                self.failures += said
            else:
                self.messages += said
        complaint = self._history.close() if self._history is not None else None
        if complaint is not None:
            self.messages.append(complaint)
            self._history = None
