"""The table of verdicts, and that what pytest is told is what the table says."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import get_args

import pytest

from pytest_kgate.bench.request import Outcome
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.report.record.record import RecordVerdict
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.record.verdicts import worst
from pytest_kgate.session.outcome import GateFailure
from pytest_kgate.session.outcome import GateWarning
from pytest_kgate.session.outcome import report_outcome


def test_every_verdict_of_a_record_has_a_row_and_a_rank_of_its_own() -> None:
    assert set(VERDICTS) == set(get_args(RecordVerdict))
    assert sorted(row.rank for row in VERDICTS.values()) == list(range(len(VERDICTS)))


def test_the_worst_verdict_is_that_of_the_record() -> None:
    ordered = ["ERROR", "WRONG", "INVALID", "FAIL", "INCONCLUSIVE", "WEAK", "NOT MEASURED", "PASS", "MEASURED"]
    assert [worst(ordered[start:]) for start in range(len(ordered))] == ordered
    assert worst([]) == "MEASURED"


def reported(verdict: str, options: Options, monkeypatch: pytest.MonkeyPatch) -> str:
    """What pytest is told of a test with such a record."""
    monkeypatch.setattr("pytest_kgate.report.text.failure.failure_text", lambda record: record["verdict"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", GateWarning)
        try:
            report_outcome(Outcome({"verdict": verdict, "reason": "why"}), options)  # type: ignore[typeddict-item]
        except GateFailure:
            return "failed"
        except GateWarning:
            return "warned"
        except pytest.skip.Exception:
            return "skipped"
    return "passed"


@pytest.mark.parametrize("inconclusive", ["fail", "skip", "warn"])
@pytest.mark.parametrize("verdict", list(VERDICTS))
def test_pytest_is_told_what_the_table_says(verdict: str, inconclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(Options(), inconclusive=inconclusive)
    row = VERDICTS[verdict]
    assert reported(verdict, options, monkeypatch) == row.reported_under(options)
    if not row.by_option:
        assert row.reported_under(options) == row.reported


def test_an_undecided_race_is_reported_as_its_option_says() -> None:
    told = {
        choice: VERDICTS["INCONCLUSIVE"].reported_under(replace(Options(), inconclusive=choice))
        for choice in ("fail", "skip", "warn")
    }
    assert told == {"fail": "failed", "skip": "skipped", "warn": "warned"}


def test_options_that_a_row_names_exist_and_all_their_values_are_in_it() -> None:
    for row in VERDICTS.values():
        for name, by_value in row.by_option.items():
            assert row.reported_under(Options()) == row.reported
            assert getattr(Options(), name) in by_value
