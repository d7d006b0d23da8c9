"""What the summary says of a test over many shapes, and how often the interval of its mean holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.report.ci.markdown import comment
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.report.together.grids import grids_of
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.intervals.geometric_mean import geometric_mean
from pytest_kgate.statistics.judge import measure


def on_shape(record: Record, seqlen: int) -> Record:
    record["problem"]["shape"] = [1, 8, seqlen, 64]
    record["problem"]["name"] = f"sdpa 1x8x{seqlen}x64 float16"
    return record


def grid(ratios: dict[int, float], impl: str = "wmma") -> list[Record]:
    name = f"tests/test_a.py::test_grid[{impl}-1x8x{{}}x64]".format
    return [on_shape(speed_record(name(n), ratio=ratio), n) for n, ratio in ratios.items()]


def test_summary_has_a_line_for_each_grid() -> None:
    records = grid({512: 0.5, 1024: 1.0, 2048: 2.0}) + grid({512: 0.5, 1024: 0.5, 2048: 0.6}, "mma")
    lines = [line for line in summary_table(records, 200).splitlines() if line.startswith("grid ")]
    assert [line.partition(";")[0] for line in lines] == [
        "grid test_grid[wmma], ratio below 0.95: 1 of 3 shapes pass",
        "grid test_grid[mma], ratio below 0.95: 3 of 3 shapes pass",
    ]
    assert "on 1x8x2048x64" in lines[0]
    (wmma, _) = grids_of(records)
    assert wmma.mean is not None
    assert wmma.mean.low < 1 < wmma.mean.high


def test_comment_under_a_pull_request_has_the_grids_too() -> None:
    records = grid({512: 0.5, 1024: 1.0, 2048: 2.0}, "<b>wmma")
    (line,) = [one for one in comment(records).splitlines() if one.startswith("- grid")]
    assert "1 of 3 shapes pass; geometric mean " in line
    assert "<b>" not in line
    assert "- grid" not in comment(records[:2])


def test_shape_that_was_not_timed_counts_and_has_no_part_in_the_mean() -> None:
    wrong = on_shape(wrong_record("tests/test_a.py::test_grid[wmma-1x8x4096x64]"), 4096)
    (found,) = grids_of([*grid({512: 0.5, 1024: 0.5}), wrong])
    assert (len(found.shapes), len(found.measured)) == (3, 2)
    assert "2 of 3 shapes pass; geometric mean 0.5" in found.line
    assert "(over the 2 that have a ratio)" in found.line


def test_two_shapes_and_shapes_of_different_tests_are_no_grid() -> None:
    records = grid({512: 0.5, 1024: 0.5})
    other = on_shape(speed_record("tests/test_a.py::test_other[wmma-1x8x4096x64]"), 4096)
    assert grids_of([*records, other]) == []
    assert "grid " not in summary_table(records, 100)


def test_gates_of_a_test_are_told_apart() -> None:
    name = "tests/test_a.py::test_grid[wmma-1x8x{}x64]".format
    both = (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9))
    records = [on_shape(speed_record(name(n), bounds=both), n) for n in (512, 1024, 2048)]
    assert [one.gate for one in grids_of(records)] == ["ratio below 0.95", "p90 ratio below 1.00"]


def test_ratios_that_are_inverse_to_each_other_have_a_mean_of_one() -> None:
    mean = geometric_mean([Interval(0.49, 0.5, 0.51, 0.95, "blocks-t"), Interval(1.96, 2.0, 2.04, 0.95, "blocks-t")])
    assert mean.estimate == pytest.approx(1)
    assert math.log(mean.high) == pytest.approx(math.hypot(math.log(1.02), math.log(1.02)) / 2)


def test_interval_of_the_mean_holds_the_true_one() -> None:
    """Of races that stop where their interval leaves 1, which favours luck, 94 % or more."""
    rng, hits = np.random.default_rng(4), 0
    for _ in range(120):
        found = []
        for truth in (0.99, 1.0, 1.01):
            samples = np.exp(0.02 * rng.standard_normal((2, 96, 4)))
            for rounds in (12, 24, 48, 96):
                ratio = measure(truth * samples[0, :rounds], samples[1, :rounds])
                assert ratio is not None
                if not ratio.low <= 1 <= ratio.high:
                    break
            found.append(ratio)
        mean = geometric_mean(found)
        hits += mean.low <= (0.99 * 1.0 * 1.01) ** (1 / 3) <= mean.high
    assert hits >= 0.94 * 120
