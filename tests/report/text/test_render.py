"""Sentences in columns: what is to be copied, and numbers with their units, stay whole."""

from __future__ import annotations

from pytest_kgate.report.text.render import wrapped


def test_sentence_is_broken_between_words_behind_an_indent() -> None:
    assert wrapped("one two three four", 12, "  ") == ["one two", "  three four"]


def test_first_line_begins_with_what_is_given_and_the_others_stand_below_it() -> None:
    assert wrapped("one two three", 14, " " * 6, first="  id  ") == ["  id  one two", "      three"]


def test_command_in_backticks_interval_and_number_with_unit_are_not_broken() -> None:
    assert wrapped("say `kgate impls -h` in 10 us", 14) == ["say", "`kgate impls -h`", "in 10 us"]
    assert wrapped("`a b` or some other `c d`", 12) == ["`a b` or", "some other", "`c d`"]
    assert wrapped(f"`{'a' * 62} b` or not `c d`", 72) == [f"`{'a' * 62} b` or", "not `c d`"]
    assert wrapped("ratio 0.9 [0.8, 1.0]", 16) == ["ratio 0.9", "[0.8, 1.0]"]
    assert wrapped("p50 9.1 us [8.9 us, 9.4 us]", 20) == ["p50 9.1 us", "[8.9 us, 9.4 us]"]
    assert wrapped("it takes about 10 us", 18) == ["it takes about", "10 us"]


def test_path_is_not_broken() -> None:
    path = "/a/path-that/is-longer/than/a-line"
    assert wrapped(f"see {path}.", 12) == ["see", f"{path}."]


def test_nothing_to_say_is_one_line() -> None:
    assert wrapped("", 12, "  ") == [""]
