"""`kgate calibrate`: race kernels of known ratio in fresh processes, and show how often the gate was wrong."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block

if TYPE_CHECKING:
    from pytest_kgate.validation.calibrate.file import Calibrations
    from pytest_kgate.validation.calibrate.run.protocol import CalibrationPlan

_NOT_ACCEPTED = 1
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.add_argument("--quick", action="store_true", help="a minute or two (the default)")
    parser.add_argument(
        "--full", action="store_true", help="20 processes of 50 gates on equal kernels: 10 to 20 minutes"
    )
    parser.add_argument("--compare", action="store_true", help="run other recipes beside ours, on equal kernels")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep all gates in FILE, and continue it if it is there"
    )
    parser.add_argument("--show", action="store_true", help="run nothing, show FILE")
    parser.add_argument(
        "--gather", type=Path, nargs="+", metavar="PART", help="run nothing, make FILE of these, then show it"
    )
    parser.add_argument("--device", default="auto", metavar="auto|cuda:N|host|fake", help="default: %(default)s")
    parser.add_argument(
        "--timer", default="auto", choices=("auto", "graph", "queue", "eager", "wall"), help="default: graph on a GPU"
    )
    parser.add_argument("--cache", default="hot", choices=("hot", "cold"))
    parser.add_argument("--processes", type=_count, metavar="N", help="in all, those in FILE included")
    parser.add_argument("--gates", type=_count, metavar="M", help="on equal kernels, a process")
    parser.add_argument("--truth-gates", type=_count, metavar="M", help="on kernels of known ratio, a process")
    parser.add_argument("--cases", default="", metavar="A,B", help="groups (aa, truth), names or patterns")
    parser.add_argument(
        "--budget", type=_seconds, default=10.0, metavar="SECONDS", help="of a race, default: %(default)g"
    )
    parser.add_argument("--seconds", type=_seconds, metavar="LIMIT", help="start no gate later than this")
    parser.add_argument("--seed", type=_count, default=42, metavar="N", help="default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the p-values (needs matplotlib)")
    block.add_arguments(parser, "write the tables of FILE into a block of this page")
    parser.add_argument("--width", type=_count, help="columns of the tables; default: the terminal's, or 100")


def run(options: argparse.Namespace) -> int:
    """Run the gates, print the findings, keep them. Returns 1 where the device is not accepted, 130 after Ctrl-C."""
    from pytest_kgate.validation.calibrate.file import Calibrations
    from pytest_kgate.validation.calibrate.file import gathered
    from pytest_kgate.validation.calibrate.file import open_or_create
    from pytest_kgate.validation.calibrate.rigs.open import kind_of
    from pytest_kgate.validation.calibrate.run import protocol
    from pytest_kgate.validation.calibrate.tables.show import calibration_markdown

    _check(options)
    if options.into is not None:
        block.write(options, calibration_markdown(options.json))
        return 0
    interrupted = False
    if options.gather:
        calibrations = gathered(options.json, options.gather)
    elif options.show:
        calibrations = Calibrations.load(options.json)
    else:
        plan = _plan(options)
        setting = {"kind": kind_of(options.device), "timer": plan.timer, "cache": plan.cache, "budget": plan.budget}
        calibrations = open_or_create(options.json, setting)
        before = calibrations.next_process
        try:
            for trouble in protocol.run(plan, calibrations, _Line().update):
                print(f"kgate: {trouble}", file=sys.stderr)
        except KeyboardInterrupt:
            interrupted = True
            calibrations.save()
            print("kgate: interrupted; run the same command again to go on", file=sys.stderr)
        _keep(calibrations, before)
    accepted = _show(calibrations, options)
    if interrupted:
        return _INTERRUPTED
    return 0 if accepted else _NOT_ACCEPTED


def _check(options: argparse.Namespace) -> None:
    if options.quick and options.full:
        raise UsageError("--quick and --full exclude each other.", "Give one of them.")
    block.check(options)
    if options.plot is not None:
        from pytest_kgate.validation.calibrate.tables.p_values import require_matplotlib

        require_matplotlib()
    if (options.show or options.gather or options.into is not None) and options.json is None:
        raise UsageError("There is no file to show.", "Name it with --json FILE.")


def _plan(options: argparse.Namespace) -> CalibrationPlan:
    from pytest_kgate.validation.calibrate.cases import catalogue
    from pytest_kgate.validation.calibrate.cases import select
    from pytest_kgate.validation.calibrate.cases import side_by_side
    from pytest_kgate.validation.calibrate.rigs.open import kind_of
    from pytest_kgate.validation.calibrate.run.protocol import COMPARISON
    from pytest_kgate.validation.calibrate.run.protocol import PRESETS
    from pytest_kgate.validation.calibrate.run.protocol import CalibrationPlan

    kind = kind_of(options.device)
    extent = COMPARISON if options.compare else PRESETS[kind]["full" if options.full else "quick"]
    given = {"processes": options.processes, "gates": options.gates, "truth_gates": options.truth_gates}
    extent = replace(extent, **{name: value for name, value in given.items() if value is not None})
    timers = {"cuda": "graph", "host": "wall", "fake": "fake"}
    return CalibrationPlan(
        device=options.device,
        timer=timers[kind] if options.timer == "auto" or kind == "fake" else options.timer,
        cache=options.cache,
        budget=options.budget,
        seed=options.seed,
        cases=select(side_by_side(kind) if options.compare else catalogue(kind), options.cases),
        extent=extent,
        seconds=options.seconds,
        recipes=options.compare,
    )


def _keep(calibrations: Calibrations, before: int) -> None:
    """Keep a summary for each device that this run has used, made from all gates of it in the file."""
    from pytest_kgate.bench.race.calibration.device_calibration import identity_of
    from pytest_kgate.bench.race.calibration.device_calibration import save
    from pytest_kgate.validation.calibrate.findings.summary import summarise

    new = {
        identity_of(process["environment"]): process
        for process in calibrations.processes
        if process["process"] >= before
    }
    for identity, latest in new.items():
        numbers = {
            process["process"] for process in calibrations.processes if identity_of(process["environment"]) == identity
        }
        found = summarise(
            [gate for gate in calibrations.gates if gate["process"] in numbers],
            latest["environment"],
            calibrations.setting["timer"],
            calibrations.setting["cache"],
            calibrations.setting["budget"],
            latest["started"],
        )
        if found is not None:
            save(found)


def _show(calibrations: Calibrations, options: argparse.Namespace) -> bool:
    from pytest_kgate.validation.calibrate.tables import p_values
    from pytest_kgate.validation.calibrate.tables.show import findings_in
    from pytest_kgate.validation.calibrate.tables.show import terminal_text
    from pytest_kgate.validation.calibrate.tables.show import verdict_line

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = options.width or shutil.get_terminal_size(fallback=(100, 24)).columns
    print(terminal_text(calibrations, width, color))
    found = findings_in(calibrations)
    if options.plot is not None:
        names = [one.case.name for one in found.same]
        by_case = {name: p_values.p_values(calibrations.gates, [name]) for name in names}
        p_values.draw(options.plot, {name: values for name, values in by_case.items() if values})
    if not found.overall.gates and calibrations.comparisons:
        return True  # a comparison alone judges other recipes, not the device
    print(verdict_line(found))
    return found.accepted


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"takes a positive number of seconds, not {text!r}")
    return value


class _Line:
    """Progress on stderr: a line that is redrawn on a terminal, else one every tenth of the way."""

    def __init__(self) -> None:
        self._tenth = -1

    def update(self, done: int, wanted: int, case: str) -> None:
        width = shutil.get_terminal_size(fallback=(80, 24)).columns
        filled = 20 * done // max(1, wanted)
        text = f"[{'#' * filled}{'.' * (20 - filled)}] {done} of {wanted} gates  {case}"
        if sys.stderr.isatty():
            end = "\n" if done == wanted else ""
            sys.stderr.write(f"\r\x1b[2K{text[: width - 1]}{end}")
        elif (tenth := 10 * done // max(1, wanted)) > self._tenth:
            self._tenth = tenth
            sys.stderr.write(f"{done} of {wanted} gates\n")
        sys.stderr.flush()
