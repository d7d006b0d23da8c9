"""Numbers that JSON has no word for, which records write as strings. No report ends there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from sample_records import allclose_record
from sample_records import limit
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.statistics.gates import SpeedGate

RECORDS = {
    "speed": {**speed_record(bounds=(SpeedGate(0.95, quantile=0.9),)), "limits": [limit(value=64.5)]},
    "wrong": wrong_record(causal=True),
    "allclose": allclose_record(),
}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a record floating-point numbers stand."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield from numbers(one, (*path, key))
    if isinstance(value, float):
        yield path


@pytest.mark.parametrize("word", ["Infinity", "-Infinity", "NaN"])
@pytest.mark.parametrize("kind", RECORDS)
def test_any_number_may_be_a_word(kind: str, word: str) -> None:
    for path in numbers(RECORDS[kind]):
        record: Any = copy.deepcopy(RECORDS[kind])
        part = record
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = word
        assert record["verdict"] in summary_table([record], 100), path
        assert failure_text(record, whole=True).startswith(record["verdict"]), path


def test_infinite_tolerance_is_shown_as_such() -> None:
    record = wrong_record()
    record["correctness"]["atol"] = "Infinity"
    assert "allowed not finite" in failure_text(record)
    assert "inf  WRONG" in summary_table([record], 100)


def test_tolerance_of_the_problem_is_said_to_be_its_own() -> None:
    record = wrong_record()
    record["correctness"] |= {"atol": 1.0, "default_tolerance": True}
    assert "allowed 1.0e+00, from the reference's own error" in failure_text(record, 120)
    record["correctness"]["problem_tolerance"] = True
    assert "allowed 1.0e+00, by the problem's own tolerance" in failure_text(record, 120)


def test_advice_on_ties_is_for_what_can_be_indices() -> None:
    plain = wrong_record(worst={"exact": 3, "candidate": 4})
    assert "ties" not in failure_text(plain)
    indices = wrong_record(worst={"exact": 3, "candidate": 4, "may_be_indices": True})
    assert "The output can be indices." in failure_text(indices)
    assert "equal.ties()" in failure_text(indices)
