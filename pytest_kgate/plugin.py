"""The pytest hooks, and nothing else. Imports neither torch nor numpy: every pytest run pays for this module."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kgate.bench.processes.variable import file_of_task
from pytest_kgate.bench.processes.variable import keep_environment
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.tampering.exit_guard import install_exit_guard
from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES
from pytest_kgate.integrity.tampering.monkeypatches import follow_imports
from pytest_kgate.profile.under_tool.variables import watched
from pytest_kgate.session.collection import marker_table
from pytest_kgate.session.collection.marker_table import MARKERS
from pytest_kgate.session.fixtures.fixtures import kbench
from pytest_kgate.session.fixtures.fixtures import kernels
from pytest_kgate.session.fixtures.fixtures import kgate_device
from pytest_kgate.session.fixtures.fixtures import knobs
from pytest_kgate.session.fixtures.fixtures import sdpa_oracle
from pytest_kgate.session.options.sources import add_options
from pytest_kgate.session.options.sources import from_config
from pytest_kgate.session.outcome import Failure
from pytest_kgate.session.outcome import GateFailure
from pytest_kgate.session.outcome import together
from pytest_kgate.session.session import RECORDS
from pytest_kgate.session.session import SESSION
from pytest_kgate.session.session import Session
from pytest_kgate.session.tampering.reports import seen_to_the_end

__all__ = ["kbench", "kernels", "kgate_device", "knobs", "sdpa_oracle"]

_FIXTURES = frozenset(__all__)


def pytest_addoption(parser: pytest.Parser) -> None:
    install_exit_guard()  # the first hook of all: no conftest or test module has run yet
    follow_imports(MONKEYPATCHES)
    add_options(parser)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    marker_table.register(config)
    try:
        options = from_config(config)
        task_file = file_of_task()
        keep_environment()
        if options.isolate and options.candidate is not None:
            from pytest_kgate.integrity.isolation.process.judge.kept_out import keep_out_named

            keep_out_named(options.candidate, config.invocation_params.dir)
        session = config.stash[SESSION] = Session(
            config, replace(options, json=None, html=None, history=None, compare=None) if task_file else options
        )
        if options.shapes is not None:
            from pytest_kgate.session.collection.chosen_shapes import ChosenShapes

            config.pluginmanager.register(ChosenShapes.of(options), "kgate-shapes")
        if options.sweep:
            from pytest_kgate.search.space.assignments import configurations
            from pytest_kgate.session.collection.sweep import Sweep

            config.pluginmanager.register(Sweep(options, configurations(options.sweep), "--kgate-sweep"), "kgate-sweep")
        if options.joint is not None:
            from pytest_kgate.session.fixtures.joint.key import JOINT
            from pytest_kgate.session.fixtures.joint.shared import Joint

            joint = config.stash[JOINT] = Joint(session)
            config.pluginmanager.register(joint, "kgate-joint")
            config.pluginmanager.register(joint.candidates, "kgate-sweep")
        if options.grid_budget is not None and options.rounds is None and options.joint is None:
            from pytest_kgate.session.collection.grid_budget import GridBudget

            session.grid_budget = GridBudget(options.grid_budget)
            config.pluginmanager.register(session.grid_budget, "kgate-grid-budget")
    except KgateError as error:
        raise pytest.UsageError(f"{error.what}\n{error.todo}") from None
    if task_file:
        from pytest_kgate.bench.processes.child import Child
        from pytest_kgate.bench.processes.task import Task

        session.child = Child(config, Task.load(task_file))
    if not session.is_worker:
        config.pluginmanager.register(_Receiver(session), "kgate-receiver")
    if watched():
        from pytest_kgate.profile.under_tool.launch_only import UnderTool

        config.pluginmanager.register(UnderTool(), "kgate-under-tool")


def pytest_sessionstart(session: pytest.Session) -> None:
    # PyTorch's trace for tools is always on, and newer versions of pytest show it, hundreds of lines without text,
    # under each failure that a compilation came before: of a reference, too. Other handlers get it as before.
    logging = session.config.pluginmanager.get_plugin("logging-plugin")
    if logging is not None:
        logging.report_handler.addFilter(lambda record: record.name != "torch.__trace")


def pytest_make_parametrize_id(val: object) -> str | None:
    module = sys.modules.get("pytest_kgate.problems.shape")  # where nobody has imported it, there is no Shape
    return str(val) if module is not None and isinstance(val, module.Shape) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    judging = [item for item in items if "kbench" in _fixtures(item)]
    options = config.stash[SESSION].options
    if options.impl:
        from pytest_kgate.session.collection.selection import keep_chosen

        keep_chosen(session, items, options)
    yield  # -k and -m among others: markers of a test that they leave out are not looked at
    marked = [item for item in items if any(mark.name in MARKERS for mark in item.iter_markers())]
    if marked or judging:  # most sessions have neither, and do without the modules for that
        from pytest_kgate.session.collection.misuse import demand_sound_markers

        demand_sound_markers(session, items, marked, judging, options)
    if options.selftest:
        # Tests without kbench have no check to test.
        config.hook.pytest_deselected(items=[item for item in items if "kbench" not in _fixtures(item)])
        items[:] = [item for item in items if "kbench" in _fixtures(item)]


def _fixtures(item: pytest.Item) -> tuple[str, ...]:
    return tuple(getattr(item, "fixturenames", ()))


def pytest_report_collectionfinish(config: pytest.Config, start_path: Path, items: list[pytest.Item]) -> list[str]:
    runs_nothing = config.option.collectonly or getattr(config.option, "setupplan", False)
    if not runs_nothing and any(_FIXTURES & set(_fixtures(item)) for item in items):
        from pytest_kgate.report.text.render import wrapped
        from pytest_kgate.session.terminal.header import session_line

        return wrapped(session_line(config.stash[SESSION]), config.get_terminal_writer().fullwidth, "  ")
    return []


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[SESSION].outcomes.collected(item for item in session.items if "kbench" in _fixtures(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    item.config.stash[SESSION].outcomes.comes(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[SESSION].begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    races = "kbench" in getattr(item, "fixturenames", ())
    if not races and item.get_closest_marker("sanitize"):
        from pytest_kgate.session.fixtures.sanitize import sanitize_alone

        sanitize_alone(item, item.config.stash[SESSION])
    session = item.config.stash[SESSION]
    try:
        yield
    except (GateFailure, pytest.skip.Exception) as last:
        ending = together([*session.runs.held(), last], session.runs.calls_of(item.nodeid))
        if ending is last:
            raise
        raise ending from None
    except BaseException as other:
        for held in session.runs.held():
            item.add_report_section("call", "kbench.soft", str(held))
        if races and not isinstance(other, Failure):  # what was raised may be of a kernel that faulted before
            for fault in session.faults():
                item.add_report_section("call", "kbench", fault)
        raise
    if (held_back := session.runs.held()) != []:
        raise together(held_back, session.runs.calls_of(item.nodeid))
    demands = set(MARKERS) - ({"perf"} if races else {"perf", "sanitize"})
    demand = next((mark.name for mark in item.iter_markers() if mark.name in demands), None)
    if demand is not None and not session.runs.calls_of(item.nodeid):
        raise Failure(
            f"The test is marked {demand}, but never called kbench, so nothing was judged.\n"
            "Call kbench(candidate, problem) in the test, or remove the marker. A call in a teardown comes too late."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    failure = call.excinfo.value if call.excinfo else None
    crash = getattr(report.longrepr, "reprcrash", None)
    if isinstance(failure, Failure) and crash is not None:
        crash.message = failure.headline  # where CI is set, pytest's short summary would repeat the whole text
    outcomes = item.config.stash[SESSION].outcomes
    if call.when == "call":
        outcomes.ended(item.nodeid, failure, pytest.xfail.Exception)
    records = item.stash.get(RECORDS, None)
    if "kbench" in _fixtures(item):  # xdist carries attributes of built-in types
        report.kgate_judges = True  # type: ignore[attr-defined]
    if call.when == "call" and records:
        report.kgate_records = records  # type: ignore[attr-defined]
        report.kgate_demand = outcomes.demand_of(item.nodeid)  # type: ignore[attr-defined]
    return report


class _Receiver:
    """Takes in the records that xdist's workers send; a report knows its config only through a plugin object."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._session.receive(getattr(report, "kgate_records", ()))
        self._session.outcomes.told(report.nodeid, report.outcome, getattr(report, "kgate_demand", None))
        if report.failed and getattr(report, "kgate_judges", False):
            self._session.failed.add(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = config.stash[SESSION]
    session.close()
    if not session.records and not session.messages:
        return
    from pytest_kgate.report.text.render import wrapped  # here, since most sessions have nothing to say

    terminalreporter.section("kgate")
    writer = terminalreporter._tw
    if session.records:
        for line in session.tables(writer.fullwidth, writer.hasmarkup):
            terminalreporter.write_line(line)
    notes = [part for note in session.notes for part in wrapped(note, writer.fullwidth, "  ")]
    for line in [*notes, *session.compared()]:
        terminalreporter.write_line(line)
    for failure in session.failures:
        terminalreporter.write_line(failure, red=True)
    for message in session.messages:
        terminalreporter.write_line(message, yellow=True)
    if session.options.json is not None and not session.lacks_records:
        terminalreporter.write_line(f"records: {session.options.json}")
    if session.keeps_history:
        terminalreporter.write_line(f"history: {session.options.history}")
    if session.has_page:
        terminalreporter.write_line(f"page: {session.options.html}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if (session := config.stash.get(SESSION, None)) is None:
        return
    session.close()
    if any(device.hung for device in session.devices):
        from pytest_kgate.session.exit import exit_without_device

        exit_without_device(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    return (yield from seen_to_the_end(lambda: config.stash.get(SESSION, None)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    own = session.config.stash[SESSION]
    failed = own.records and own.judge_together()
    if own.records:
        from pytest_kgate.session.terminal import ci  # here, since every session of pytest would pay

        ci.add_to_junit(own)
    own.write_page()
    yield  # to all others, the terminal summary among them; what they make of the exit status is seen below
    status = getattr(session, "exitstatus", exitstatus)
    masked = own.outcomes.masked(int(status))
    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    if masked and terminal is not None:
        terminal.write_line(masked, red=True)
    if (failed or masked) and status == pytest.ExitCode.OK:
        # The tests have been reported as passed; what all gates together say can only fail the session.
        session.exitstatus = status = pytest.ExitCode.TESTS_FAILED
    own.exit_status = int(status)
    if own.records and (untold := ci.write_step_summary(own, own.exit_status)) is not None and terminal is not None:
        terminal.write_line(untold, yellow=True)
