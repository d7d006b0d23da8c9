"""Reduce a calibration to the small file that later gates on the same device are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_kgate.bench.race.calibration.device_calibration import Calibration
from pytest_kgate.bench.race.calibration.device_calibration import identity_of
from pytest_kgate.validation.calibrate.cases import UNAVAILABLE
from pytest_kgate.validation.calibrate.cases import catalogue
from pytest_kgate.validation.calibrate.findings.findings import findings_of


def summarise(
    gates: list[dict[str, Any]],
    environment: Mapping[str, Any],
    timer: str,
    cache: str,
    budget_seconds: float,
    date: str,
) -> Calibration | None:
    """The calibration to keep of one device's gates; None where a case of a kernel against itself has no gates."""
    cases = catalogue(str(environment["device"]))
    found = findings_of(gates, cases)
    wanted = {case.name for case in cases if case.group == "aa"}
    lacking = {str(gate["case"]) for gate in gates if gate["verdict"] == UNAVAILABLE}
    if not found.same or wanted - lacking != {one.case.name for one in found.same} - lacking:
        return None  # a chosen case or two shall not take the place of a whole calibration
    usable = [one for one in found.same if one.reference_seconds and one.resolved]
    spins = [one for one in usable if one.case.kernel == "spin"]
    return Calibration(
        identity=identity_of(environment),
        timer=timer,
        cache=cache,
        date=date,
        budget_seconds=budget_seconds,
        gates=found.overall.gates,
        false_passes=found.overall.passed,
        false_fails=found.overall.failed,
        accepted=found.accepted,
        noise_floor={one.case.name: one.half_width for one in found.same if one.half_width is not None},
        resolved=tuple(sorted((one.reference_seconds or 0.0, one.resolved or 0.0) for one in spins or usable)),
    )
