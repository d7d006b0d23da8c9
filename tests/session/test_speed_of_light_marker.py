"""The `speed_of_light` marker in a user's tests: alone, beside others, without a roofline, in several processes."""

from __future__ import annotations

import json
import textwrap

import pytest

from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.errors import UsageError
from pytest_kgate.session.collection.markers import gates_of
from pytest_kgate.statistics.gates import SpeedOfLightGate

USAGE = "Usage: @pytest.mark.speed_of_light(bound, *, confidence=0.95)"

PROBLEMS = """
from dataclasses import replace

COUNTED = replace(RELU, bytes=32768.0, dtype="float32")
WITH_FLOPS = replace(RELU, flops=2e6, dtype="float32")
"""


@pytest.fixture
def measured(suite, monkeypatch, pytester):
    """Write tests of a candidate that takes 8 us on a device that copies 32 KiB in 4 us; its rates are kept already."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(pytester.path / "kept"))
    identity = kept.identity_of({"device": "fake"})
    rates = {"float32": Rate(4e11, 0.01, 4096)}
    copies = (Rate(32768 / 4e-6, 0.01, 2**30),)
    kept.save(MeasuredRates(identity, "2026-11-27T12:00:00+00:00", 1.0, rates, {}, copies))

    def write(body, **more):
        return suite(PROBLEMS + textwrap.dedent(body), **more)

    return write


def records(pytester, *options):
    result = pytester.runpytest("--kgate-json", "records.json", *options)
    return result, json.loads((pytester.path / "records.json").read_text())["records"]


def test_it_stands_alone_and_what_is_reached_and_what_sets_the_floor_is_recorded(measured):
    result, (record,) = records(
        measured(
            """
            @pytest.mark.speed_of_light(0.3)
            def test_bytes(kbench): kbench(good, COUNTED)
            """
        )
    )
    result.assert_outcomes(passed=1)
    assert record["verdict"] == "PASS"
    assert record["gates"] == []
    (limit,) = record["limits"]
    assert (limit["kind"], limit["bound"], limit["verdict"]) == ("speed_of_light", 30.0, "PASS")
    assert limit["interval"]["low"] < 50 < limit["interval"]["high"]
    assert record["roofline"]["set_by"] == "bytes"
    assert record["roofline"]["floor_seconds"] == pytest.approx(4e-6)
    assert record["timing"]["rounds"] == 12


def test_a_share_that_is_missed_fails_beside_a_speedup_that_is_met(measured):
    result, (record,) = records(
        measured(
            """
            @pytest.mark.speed_of_light(0.8)
            @pytest.mark.speedup(0.95)
            def test_flops(kbench): kbench(good, WITH_FLOPS)
            """
        )
    )
    result.assert_outcomes(failed=1)
    assert (record["verdict"], record["gates"][0]["verdict"]) == ("FAIL", "PASS")
    text = " ".join(result.stdout.str().split())
    assert "of the measured roofline, where 80 % are demanded; it takes 8.0" in text
    assert "roofline 5.00 us at least, measured 2026-11-27: 2e+06 FLOPs at 4e+11 a second (float32)" in text


def test_without_the_marker_a_failing_speedup_shows_the_roofline_that_is_known(measured):
    result, (record,) = records(
        measured(
            """
            @pytest.mark.speedup(0.5)
            def test_slow(kbench): kbench(good, COUNTED)
            """
        )
    )
    result.stdout.fnmatch_lines(["*roofline*4.00 us at least, measured 2026-11-27: 3.28e+04 bytes at*"])
    assert "limits" not in record


def test_a_call_names_a_share_of_its_own(measured):
    result, found = records(
        measured(
            """
            @pytest.mark.speed_of_light(0.9)
            def test_calls(kbench):
                kbench(good, COUNTED, speed_of_light=0.3)
                kbench(good, COUNTED, speed_of_light=30)
            """
        )
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*kbench(speed_of_light=...): bound must be a share of the roofline*not 30."])
    assert [record["limits"][0]["bound"] for record in found] == [30.0]


def test_a_wrong_kernel_is_not_timed_for_it(measured):
    result, (record,) = records(
        measured(
            """
            @pytest.mark.speed_of_light(0.3)
            def test_wrong(kbench): kbench(wrong, COUNTED)
            """
        )
    )
    result.assert_outcomes(failed=1)
    assert (record["verdict"], record["timing"]) == ("WRONG", None)
    assert "limits" not in record


def test_without_flops_and_bytes_it_is_not_measured_and_says_what_to_add(measured):
    body = """
        @pytest.mark.speed_of_light(0.3)
        def test_it(kbench): kbench(good, RELU)
        """
    result, (record,) = records(measured(body), "-rs")
    result.assert_outcomes(skipped=1)
    said = "relu 64x64 says neither its FLOPs nor its bytes: give Problem(flops=..., bytes=...)"
    result.stdout.fnmatch_lines([f"*NOT MEASURED: {said}*"])
    assert record["limits"][0]["value"] is None
    assert "roofline" not in record


def test_nothing_is_measured_where_only_answers_are_checked(measured):
    result, (record,) = records(
        measured(
            """
            @pytest.mark.speed_of_light(0.9)
            def test_it(kbench): kbench(good, COUNTED)
            """
        ),
        "--kgate-until=check",
    )
    result.assert_outcomes(passed=1)
    assert "roofline" not in record
    assert "limits" not in record


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("speed_of_light", "missing a required argument: 'bound'"),
        ("speed_of_light(80)", "bound must be a share of the roofline, above 0 and at most 1.5 (0.8 is 80 %), not 80"),
        ("speed_of_light(0)", "above 0 and at most 1.5"),
        ("speed_of_light(-0.5)", "above 0 and at most 1.5"),
        ("speed_of_light(1.51)", "above 0 and at most 1.5"),
        ("speed_of_light(float('nan'))", "above 0 and at most 1.5"),
        ("speed_of_light('0.8')", "not '0.8'"),
        ("speed_of_light(True)", "not True"),
        ("speed_of_light(0.8, confidence=95)", "confidence must be a number between 0.5 and 1, not 95"),
        ("speed_of_light(0.8, confidance=0.9)", "Did you mean 'confidence'?"),
        ("speed_of_light(0.8, quantile=0.9)", "got an unexpected keyword argument 'quantile'"),
        (
            "speed_of_light(0.8)\n@pytest.mark.speed_of_light(0.9)",
            "@pytest.mark.speed_of_light(0.8) and @pytest.mark.speed_of_light(0.9) are in one place; only one",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_to_write_it(pytester, written, said):
    item = pytester.getitem(f"import pytest\n@pytest.mark.{written}\ndef test_func(): pass\n")
    with pytest.raises(UsageError) as caught:
        gates_of(item)
    assert said in str(caught.value)
    assert USAGE in str(caught.value)


def test_the_nearest_one_counts(pytester):
    items = pytester.getitems(
        """
        import pytest
        pytestmark = pytest.mark.speed_of_light(0.5)

        def test_module(): pass

        @pytest.mark.speed_of_light(1.5, confidence=0.99)
        def test_own(): pass

        @pytest.mark.speed_of_light(0.7)
        @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.speed_of_light(0.8)), 2])
        def test_parameter(x): pass
        """
    )
    assert [gates_of(item).light for item in items] == [
        SpeedOfLightGate(0.5),
        SpeedOfLightGate(1.5, 0.99),
        SpeedOfLightGate(0.8),
        SpeedOfLightGate(0.7),
    ]
