"""What is printed of a measurement."""

from __future__ import annotations

import numpy as np

from pytest_kgate.errors import KgateError
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.report import format as text
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.intervals.percentiles import percentiles


def lines(one: Measurement) -> list[str]:
    """Median, extremes, percentiles, and how they were measured; raises `KgateError` where samples are none."""
    broken = next(filter(None, (invalid_samples(one.arm, run.samples) for run in one.runs)), "")
    if broken:
        raise KgateError(f"{one.problem}: {broken}.", "Measure on a larger shape, or with another --timer.")
    rows = [row for run in one.runs for row in run.samples]
    samples = np.array(rows) if len({len(row) for row in rows}) == 1 else np.concatenate(rows)[:, None]
    gpu, cpu = (one.environment.get(key, {}) for key in ("gpu", "cpu"))
    where = gpu.get("name") or cpu.get("model") or one.environment.get("device", "")
    processes = f" in {text.counted(len(one.runs), 'process')}" if len(one.runs) > 1 else ""
    low, median, high = (text.seconds(float(value)) for value in np.quantile(samples, [0, 0.5, 1]))
    shown = text.percentiles(each.to_dict() for each in percentiles(samples))
    answers = "right answers" if one.checked else "answers not checked"
    found = [
        f"{one.arm} on {one.problem}: median {median}, min {low}, max {high}",
        f"  {shown}",
        f"  {text.counted(samples.size, 'sample')}{processes}, {one.timer} timer, {one.cache} cache, {where}",
        f"  {answers}",
        *(f"  warning: {warning}" for warning in one.warnings),
    ]
    width = usual_columns()
    return [part for line in found for part in wrapped(line.strip(), width, "    ", first="  " * line.startswith(" "))]
