"""Knobs of a command line: what is read, what is refused, and in which order a sweep runs."""

from __future__ import annotations

import re

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.assignments import configurations
from pytest_kgate.search.space.assignments import parse_knobs
from pytest_kgate.search.space.assignments import parse_sweep
from pytest_kgate.search.space.configuration import Configuration


def test_knobs_stand_apart_by_blanks_or_commas() -> None:
    wanted = (("BLOCK_M", 128), ("MODE", "max-autotune"), ("FAST", True))
    assert parse_knobs("BLOCK_M=128 MODE=max-autotune FAST=true") == wanted
    assert parse_knobs(" BLOCK_M=128,MODE=max-autotune, FAST=true\n") == wanted
    assert parse_knobs('A="x, B=2" B=1.5') == (("A", "x, B=2"), ("B", 1.5))


def test_a_configurations_title_is_read_back() -> None:
    configuration = Configuration.of({"A": 1, "B": "x y", "C": "1", "D": False, "E": -0.5})
    assert Configuration(parse_knobs(configuration.title)) == configuration


@pytest.mark.parametrize("text", ["", " ", "A", "A=", "=1", "A=1 A=2", "A=1,2", "A=1;B=2", "1A=2", "A = 1", 3, None])
def test_other_text_is_refused_as_knobs(text: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(text))}$"):
        parse_knobs(text)


@pytest.mark.parametrize("text", ["", "A", "A=1,", "A=1,,2", "A=1,1", "A=1 A=2", "A=1,B=2", "A=1, 2", None])
def test_other_text_is_refused_as_a_sweep(text: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(text))}$"):
        parse_sweep(text)


def test_sweep_is_the_product_and_the_last_knob_changes_fastest() -> None:
    sweep = parse_sweep("BLOCK_M=32,64 A=x,y")
    assert sweep == (("BLOCK_M", (32, 64)), ("A", ("x", "y")))
    titles = ["A=x,BLOCK_M=32", "A=y,BLOCK_M=32", "A=x,BLOCK_M=64", "A=y,BLOCK_M=64"]
    assert [one.title for one in configurations(sweep)] == titles


def test_sweep_that_is_too_large_is_refused_with_its_size() -> None:
    values = ",".join(map(str, range(20)))
    with pytest.raises(UsageError, match=r"8,000 configurations \(20 \* 20 \* 20\)"):
        parse_sweep(f"A={values} B={values} C={values}")
