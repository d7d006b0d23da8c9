"""Limits in records: the verdict is the worst of all, and what is shown has what was demanded and what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from record_schema import demand_valid
from sample_records import allclose_record
from sample_records import error_record
from sample_records import limit
from sample_records import measured_record
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.profile.resources.limits import RESOURCES
from pytest_kgate.report.ci.properties import properties_of
from pytest_kgate.report.page import markdown
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.verdicts import reported
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.hints import hints
from pytest_kgate.report.text.summary import summary_table

BROKEN, HELD, UNKNOWN = limit(value=80), limit("spills", 0, 0, unit="bytes"), limit("shared_kib", None, 96, unit="KiB")
SLOW = speed_record(ratio=1.2)
LIGHT = limit("speed_of_light", 78.1, 80, kind="speed_of_light", unit="%", sense=">=", verdict="FAIL", kernel="")
LIGHT |= {"interval": {"low": 76.4, "estimate": 78.1, "high": 79.9, "confidence": 0.95, "method": "blocks-t"}}


@pytest.mark.parametrize(
    ("record", "limits", "verdict", "reason"),
    [
        (speed_record(), [HELD], "PASS", ""),
        (speed_record(), [HELD, BROKEN], "FAIL", BROKEN["reason"]),
        (speed_record(), [UNKNOWN, BROKEN], "FAIL", BROKEN["reason"]),
        (speed_record(), [UNKNOWN], "NOT MEASURED", UNKNOWN["reason"]),
        (SLOW, [BROKEN, UNKNOWN], "FAIL", SLOW["reason"]),
        (measured_record(), [HELD], "PASS", ""),
        (measured_record(), [], "MEASURED", ""),
        (wrong_record(), [BROKEN], "WRONG", wrong_record()["reason"]),
        (error_record(), [UNKNOWN], "ERROR", error_record()["reason"]),
        (speed_record() | {"verdict": "WEAK", "reason": "weak"}, [UNKNOWN], "WEAK", "weak"),
    ],
)
def test_record_has_the_worst_verdict_and_its_reason(record: Record, limits: list, verdict: str, reason: str) -> None:
    judged = with_limits(record, limits)
    assert (judged["verdict"], judged["reason"]) == (verdict, reason)
    demand_valid(document([judged]))


def test_limits_are_added_to_those_that_are_there() -> None:
    record = speed_record()
    judged = with_limits(with_limits(record, [HELD]), [BROKEN])
    assert judged["limits"] == [HELD, BROKEN]
    assert "limits" not in record


def test_what_was_not_measured_skips_the_test_unless_an_option_wants_it_to_fail() -> None:
    judged, required = with_limits(speed_record(), [UNKNOWN]), replace(Options(), require_metrics=True)
    assert reported(judged, Options()) == "skipped"
    assert reported(judged, required) == "failed"


def test_an_undecided_race_that_may_pass_does_not_hide_a_limit_that_has_to_be_measured() -> None:
    undecided = speed_record() | {"verdict": "INCONCLUSIVE", "reason": "the budget ended"}
    options = replace(Options(), inconclusive="warn")
    judged = with_limits(undecided, [UNKNOWN])
    assert judged["verdict"] == "INCONCLUSIVE"
    assert reported(judged, options) == "warned"
    assert reported(judged, replace(options, require_metrics=True)) == "failed"


def test_failure_says_what_was_demanded_and_what_was_measured() -> None:
    text = failure_text(with_limits(speed_record(), [BROKEN, HELD, LIGHT, UNKNOWN]), 100)
    for line in (
        "  demanded  registers at most 72",
        "  measured  80, in attention<64>",
        "  verdict   FAIL: registers 80 is above 72",
        "  demanded  speed_of_light at least 80 %",
        "  measured  78.1 % [76.4 %, 79.9 %]",
        "  demanded  shared_kib at most 96",
        "  verdict   NOT MEASURED: shared_kib is not known",
        "  held      spills 0 bytes <= 0 bytes",
    ):
        assert line in text.splitlines()
    assert text.count(BROKEN["reason"]) == 1


@pytest.mark.parametrize("name", RESOURCES)
def test_each_resource_that_a_kernel_takes_too_much_of_has_a_hint_with_the_candidates_own_knobs(name: str) -> None:
    (said,) = hints(with_limits(speed_record(), [limit(name, 80, verdict="FAIL")]))
    assert "(chosen: BLOCK_M=64)" in said or name == "local_bytes"


def test_table_has_a_line_for_each_kind_which_is_its_worst() -> None:
    text = summary_table([with_limits(speed_record(), [HELD, BROKEN, LIGHT])], 100)
    found = [line.split() for line in text.splitlines()]
    assert next(line for line in found if "registers" in line)[1:] == ["registers", "80", "(+1)", "<=", "72", "FAIL"]
    assert any(line[1:2] == ["speed_of_light"] and line[-1] == "FAIL" for line in found)
    assert text.splitlines()[-1] == "1 PASS, 2 FAIL"


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (measured_record(), "1 FAIL, 1 MEASURED"),
        (allclose_record(), "1 PASS, 1 FAIL"),
        (error_record(), "1 FAIL, 1 ERROR"),
    ],
)
def test_a_broken_limit_is_counted_once(record: Record, counts: str) -> None:
    assert summary_table([with_limits(record, [BROKEN])], 100).splitlines()[-1] == counts


def test_where_only_limits_were_judged_they_are_all_that_is_shown() -> None:
    alone = with_limits(error_record() | {"verdict": "MEASURED", "reason": ""}, [HELD])
    assert summary_table([alone], 100).splitlines()[-1] == "1 PASS"
    assert dict(properties_of(alone)) == {
        "kgate.limit.spills": 0,
        "kgate.limit.spills.bound": 0,
        "kgate.limit.spills.verdict": "PASS",
        "kgate.verdict": "PASS",
        "kgate.candidate": "wmma",
        "kgate.problem": "sdpa 1x8x512x64 float16",
    }


def test_properties_have_each_limit() -> None:
    found = properties_of(with_limits(speed_record(call=1), [BROKEN, UNKNOWN, BROKEN | {"bound": 64}]))
    properties = dict(found)
    assert properties["kgate.2.limit.registers"] == 80
    assert properties["kgate.2.limit.registers.verdict"] == "FAIL"
    assert "kgate.2.limit.shared_kib" not in properties
    assert properties["kgate.2.limit.shared_kib.verdict"] == "NOT MEASURED"
    assert properties["kgate.2.limit.registers.at_most_64.bound"] == 64
    assert len(properties) == len(found)
    json.dumps(found, allow_nan=False)


def test_pages_show_limits() -> None:
    page = markdown.table([with_limits(speed_record(), [BROKEN])])
    assert "registers 80 |" in page
    assert json.loads(json.dumps(document([with_limits(speed_record(), [BROKEN])])))
