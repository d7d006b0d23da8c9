"""Options in an ini file: what pytest takes for their values, and names that are nearly theirs."""

from __future__ import annotations

import pytest


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 reads native TOML")
def test_native_toml_may_hold_bare_numbers_booleans_and_lists(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".toml", pyproject='[tool.pytest]\nkgate_budget = 3\nkgate_require_gpu = true\nkgate_knob = ["A=1", "B=2"]\n'
    )
    pytester.makepyfile(
        """
        from pytest_kgate.session.options.sources import from_config

        def test_options(pytestconfig):
            options = from_config(pytestconfig)
            assert (options.budget, options.require_gpu) == (3.0, True)
            assert options.knob == (("A", 1), ("B", 2))
            assert options.sources["budget"] == "ini"
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 reads native TOML")
@pytest.mark.parametrize(("value", "said"), [("0", "kgate_budget in the ini file cannot be 0."), ("[3]", "in quotes")])
def test_bare_value_of_native_toml_that_makes_no_sense_is_told(
    pytester: pytest.Pytester, value: str, said: str
) -> None:
    pytester.makefile(".toml", pyproject=f"[tool.pytest]\nkgate_budget = {value}\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_ini_entry_that_is_nearly_an_options_ends_the_session(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkgate_foreign_laod = warn\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: No option is set by the ini entry kgate_foreign_laod.",
            "Did you mean kgate_foreign_load? Rename it, or take it out.",
        ]
    )


def test_ini_entries_of_other_names_are_none_of_its_business(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkgate_of_mine = 1\n")
    assert pytester.runpytest_inprocess().ret == pytest.ExitCode.NO_TESTS_COLLECTED
