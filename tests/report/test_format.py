"""Numbers and drawings as readers see them."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from pytest_kgate.report import format as text


@pytest.mark.parametrize(
    ("taken", "look", "shown"),
    [
        (7, None, "7 rounds"),
        (12, 0, "12 rounds"),
        (45, 1, "24 rounds, the latest look (45 were taken)"),
        (960, 3, "96 rounds, the latest look (960 were taken)"),
    ],
)
def test_rounds_of_an_interval_are_those_of_its_look(taken: int, look: int | None, shown: str) -> None:
    assert text.rounds(taken, look) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (9.21e-6, "9.21 us"),
        (9.996e-6, "10.0 us"),
        (999.4e-9, "999 ns"),
        (999.6e-9, "1.00 us"),
        (0.5, "500 ms"),
        (12.34, "12.3 s"),
        (1234.0, "1234 s"),
        (0.0, "0 s"),
        (-3.5e-7, "-350 ns"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_seconds_have_a_unit_and_three_digits(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


def test_seconds_read_back_within_their_last_digit() -> None:
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    rng = random.Random(3)
    for _ in range(20_000):
        value = 10 ** rng.uniform(-9, 3)
        number, unit = text.seconds(value).split()
        assert float(number) * units[unit] == pytest.approx(value, rel=5.1e-3)
        assert 1 <= float(number) < 1000 or unit == "s"
        assert len(number.replace(".", "")) == 3 or float(number) >= 1000


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0.084, "8.4 %"), (0.0996, "10 %"), (0.5, "50 %"), (1.234, "123 %"), (-0.0123, "-1.2 %"), (0.0, "0 %")],
)
def test_percent_has_two_digits(fraction: float, shown: str) -> None:
    assert text.percent(fraction) == shown


def test_gained_percent_can_be_signed() -> None:
    assert text.percent(0.084, signed=True) == "+8.4 %"


@pytest.mark.parametrize(("value", "shown"), [(0.95, "0.95"), (1.0, "1.00"), (0.955, "0.955"), (0.9, "0.90")])
def test_bound_looks_as_the_marker_says_it(value: float, shown: str) -> None:
    assert text.bound(value) == shown


def test_ratio_has_the_decimals_that_tell_it_from_its_bound() -> None:
    assert text.interval(0.604, 0.6192, text.decimals_for(0.604, 0.6192, 0.95)) == "[0.604, 0.619]"
    assert text.interval(0.9488, 0.9499, text.decimals_for(0.9488, 0.9499, 0.95)) == "[0.9488, 0.9499]"
    assert text.decimals_for(0.95, 0.95, 0.95) == 3
    assert text.ratio(123.4) == "123"


@pytest.mark.parametrize(
    ("low", "estimate", "high", "expected"),
    [
        (0.95, 0.97, 0.99, "-[=|=]!------"),
        (1.02, 1.03, 1.05, "------!-[|=]-"),
        (0.97, 0.99, 1.02, "---[=|!=]----"),
        (0.9999, 0.99995, 0.99999, "-----|!------"),
        (1.00001, 1.00002, 1.00003, "------!|-----"),
        (0.5, 0.51, 0.52, "<-----!------"),
        (1.5, 1.6, 1.7, "------!----->"),
        (0.9, 0.95, 0.97, "<|=]--!------"),
        (0.5, 1.02, 1.9, "<=====!=|===>"),
        (1.0, 1.0, 1.0, "------!------"),
        (0.97, 0.99, math.inf, "---[=|!=====>"),
    ],
)
def test_drawing_shows_where_the_interval_lies(low: float, estimate: float, high: float, expected: str) -> None:
    drawn = text.drawing(low, estimate, high, 1.0, step=0.0101)
    assert drawn == expected


def test_drawing_never_crosses_a_bound_that_the_interval_clears() -> None:
    rng = random.Random(5)
    for width, step in itertools.product((9, 13, 21), text.STEPS):
        for _ in range(300):
            low, estimate, high = sorted(0.95 * (1 + rng.gauss(0, 3 * step)) for _ in range(3))
            drawn = text.drawing(low, estimate, high, 0.95, step, width)
            assert len(drawn) == width
            assert drawn[width // 2] == "!"
            left, right = drawn[: width // 2], drawn[width // 2 + 1 :]
            assert (set(left) == {"-"}) == (low >= 0.95)
            assert (set(right) == {"-"}) == (high <= 0.95)


def test_scale_keeps_near_intervals_apart_from_far_ones() -> None:
    near, far = (0.93, 0.94, 0.95), (0.30, 0.31, 0.95)
    assert text.step_for([near, far, far]) > text.step_for([near, near, far])
    assert text.step_for([]) in text.STEPS
    assert text.step_for([(0.0, math.inf, 1.0)]) == text.STEPS[-1]


@pytest.mark.parametrize(
    ("count", "noun", "shown"),
    [(0, "round", "0 rounds"), (1, "round", "1 round"), (12, "round", "12 rounds"), (3, "process", "3 processes")],
)
def test_one_thing_is_not_many(count: int, noun: str, shown: str) -> None:
    assert text.counted(count, noun) == shown


def test_no_line_of_a_text_is_a_command_to_ci() -> None:
    shown = text.no_commands("boom\n  ::notice title=x::all pass\n##[group]y\na::b")
    assert shown == "boom\n  \\::notice title=x::all pass\n\\##[group]y\na::b"
    assert all(not line.lstrip().startswith(("::", "##[")) for line in shown.splitlines())
