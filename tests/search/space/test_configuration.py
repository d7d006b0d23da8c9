"""A configuration is the same whatever order its knobs were given in, and reads back as it was written."""

from __future__ import annotations

import re

import pytest

from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.configuration import parse_value
from pytest_kgate.search.space.configuration import spell


def test_order_of_knobs_does_not_matter() -> None:
    one = Configuration.of({"STAGES": 2, "BLOCK_M": 64})
    other = Configuration.of({"BLOCK_M": 64, "STAGES": 2})
    assert one == other
    assert len({one, other}) == 1
    assert (one.id, one.title) == (other.id, "BLOCK_M=64,STAGES=2")


def test_id_is_the_same_on_every_machine_and_tells_values_apart() -> None:
    assert Configuration.of({"BLOCK_M": 64, "STAGES": 2}).id == "80a10729f6ac"
    ids = {Configuration.of({"A": value}).id for value in (1, 2, 1.5, "1", True)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    "value", [0, -3, 2**70, 1.5, 1e-30, True, False, "max-autotune", "64", "true", "NaN", "two words", "a,b", '"', ""]
)
def test_value_is_read_back_as_it_was_written(value: Value) -> None:
    read = parse_value(spell(value))
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["", "1,2", "two words", "A=1", "[1]", "null x", "'1'", '"open'])
def test_text_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_value(text)
