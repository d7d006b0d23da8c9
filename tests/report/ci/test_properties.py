"""A record's figures as other plugins' reports take them."""

from __future__ import annotations

import json

import pytest
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.report.ci.properties import properties_of
from pytest_kgate.report.record.record import Record
from pytest_kgate.statistics.gates import SpeedGate


@pytest.mark.parametrize("record", session(), ids=lambda record: record["test"].rpartition("::")[2])
def test_every_record_has_plain_figures_with_names_of_their_own(record: Record) -> None:
    found = properties_of(record)
    names = [name for name, _ in found]
    assert len(set(names)) == len(names)
    assert all(name.startswith("kgate.") for name in names)
    assert json.loads(json.dumps(found, allow_nan=False)) == [list(one) for one in found]
    assert record["verdict"] in [value for name, value in found if name.endswith("verdict")]


def test_gates_of_one_race_are_told_apart() -> None:
    gates = (SpeedGate(0.95), SpeedGate(0.7), SpeedGate(1.0, quantile=0.9))
    found = dict(properties_of(speed_record(bounds=gates, call=1)))
    assert found["kgate.2.bound"] == 0.95
    assert found["kgate.2.below_0.70.bound"] == 0.7
    assert found["kgate.2.p90.bound"] == 1.0
    assert found["kgate.2.error"] == 4.9e-4


def test_wrong_answer_has_its_error_and_one_without_a_number_has_none() -> None:
    assert dict(properties_of(wrong_record()))["kgate.error"] == 0.31
    assert "kgate.error" not in dict(properties_of(wrong_record(error=None)))
