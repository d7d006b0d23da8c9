"""Tests that are parametrized with shapes: their ids, and what `--kgate-shapes` makes of them."""

from __future__ import annotations

import pytest

from pytest_kgate.profile.under_tool.session import arguments_like

TESTS = """
import pytest
from pytest_kgate import Shape, shapes

@pytest.mark.parametrize("dtype", shapes.DTYPES)
@pytest.mark.parametrize("shape", shapes.acceptance())
def test_grid(shape, dtype):
    pass

@pytest.mark.parametrize("shape", shapes.canonical(), ids=["a", "b", "c", "d", "e", "f"])
class TestGrid:
    def test_in_a_class(self, shape):
        pass

@pytest.fixture(params=shapes.canonical())
def of_fixture(request):
    return request.param

def test_fixture(of_fixture):
    assert isinstance(of_fixture, Shape)

@pytest.mark.parametrize("shape", [Shape(1, 8, 512, 64), pytest.param(Shape(1, 8, 17, 64), marks=pytest.mark.perf)])
def test_list(shape):
    pass

@pytest.mark.parametrize(("shape", "bound"), [(Shape(1, 8, 512, 64), 0.9), (Shape(1, 8, 17, 64), 1.1)])
def test_pairs(shape, bound):
    pass

def test_without():
    pass
"""

GRID = """\
[[shapes]]
batch = 1
heads = 8
head_dim = 64
seqlen = [17, 33]
"""

OF_GRID = [
    *("test_grid[1x8x17x64-float16]", "test_grid[1x8x17x64-bfloat16]"),
    *("test_grid[1x8x33x64-float16]", "test_grid[1x8x33x64-bfloat16]"),
    *("TestGrid::test_in_a_class[1x8x17x64]", "TestGrid::test_in_a_class[1x8x33x64]"),
    *("test_fixture[1x8x17x64]", "test_fixture[1x8x33x64]"),
    "test_list[1x8x17x64]",
    "test_pairs[1x8x17x64-1.1]",
    "test_without",
]
"""What is left of the tests with that file."""


@pytest.fixture
def user(pytester):
    pytester.makepyfile(test_shapes=TESTS)
    pytester.makefile(".toml", mine=GRID)
    return pytester


def collected(user, *arguments):
    """The names of the tests that `pytest --co -q` shows."""
    result = user.runpytest_inprocess("--co", "-q", *arguments)
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_shapes_are_readable_in_ids_wherever_they_come_from(user):
    found = collected(user)
    assert found[:2] == ["test_grid[1x8x512x64-float16]", "test_grid[1x8x512x64-bfloat16]"]
    assert "TestGrid::test_in_a_class[a]" in found
    assert "test_fixture[4x16x4096x128]" in found
    assert found[-5:-1] == [
        *("test_list[1x8x512x64]", "test_list[1x8x17x64]"),
        *("test_pairs[1x8x512x64-0.9]", "test_pairs[1x8x17x64-1.1]"),
    ]


def test_a_file_takes_the_place_of_grids_and_narrows_other_lists(user):
    assert collected(user, "--kgate-shapes=mine.toml") == OF_GRID
    user.runpytest_inprocess("--kgate-shapes=mine.toml").assert_outcomes(passed=11, deselected=2)


def test_a_named_grid_does_too(user):
    found = collected(user, "--kgate-shapes=acceptance", "-k", "test_grid or test_list or in_a_class")
    assert len(found) == 6 * 2 + 6 + 1
    assert found[-1] == "test_list[1x8x512x64]"


def test_the_option_can_be_a_variable_or_an_ini_entry_beside_which_its_file_is(user, monkeypatch):
    monkeypatch.setenv("KGATE_SHAPES", "mine.toml")
    assert collected(user) == OF_GRID
    monkeypatch.delenv("KGATE_SHAPES")
    user.makeini("[pytest]\nkgate_shapes = mine.toml\n")
    monkeypatch.chdir(user.mkdir("elsewhere"))
    assert collected(user, "..") == OF_GRID


def test_one_test_of_the_chosen_grid_can_be_named(user):
    assert collected(user, "--kgate-shapes=mine.toml", "-k", "33 and bfloat16") == ["test_grid[1x8x33x64-bfloat16]"]
    assert collected(user, "--kgate-shapes=mine.toml", "-m", "perf") == ["test_list[1x8x17x64]"]
    name = "test_fixture[1x8x33x64]"
    assert collected(user, "--kgate-shapes=mine.toml", f"test_shapes.py::{name}") == [name]


def test_the_header_says_which_grid_and_how_many_shapes(user):
    result = user.runpytest_inprocess("--kgate-shapes=mine.toml", "--co")
    result.stdout.fnmatch_lines(["kgate: shapes of mine.toml, 2 of them (--kgate-shapes)"])


def test_a_session_under_a_tool_collects_the_chosen_shapes_too(user):
    config = user.parseconfig("--kgate-shapes=mine.toml")
    assert "--kgate-shapes=mine.toml" in arguments_like(config)


def test_workers_of_xdist_run_the_chosen_shapes(warm, user):
    result = user.runpytest_subprocess("--kgate-shapes=mine.toml", "-n1", "-pno:cacheprovider")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["kgate: shapes of mine.toml, 2 of them*"])


def test_a_misspelt_grid_ends_the_session_and_is_told_the_right_name(user):
    result = user.runpytest_inprocess("--kgate-shapes=canoncal")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: --kgate-shapes names 'canoncal', which is no grid of shapes. Did you mean 'canonical'?",
            "Choose among canonical, acceptance, all, stress, or name a file: .toml, .yaml or .yml.",
        ]
    )


def test_a_bad_or_missing_file_ends_the_session(user):
    user.makefile(".toml", typo=GRID.replace("seqlen", "seqlne"))
    result = user.runpytest_inprocess("--kgate-shapes=typo.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *typo.toml, line 5: a shape has no field 'seqlne'. Did you mean 'seqlen'?"])
    result = user.runpytest_inprocess("--kgate-shapes=tests/")
    result.stderr.fnmatch_lines(["ERROR: --kgate-shapes names 'tests', which is no grid of shapes.*"])
    result = user.runpytest_inprocess("--kgate-shapes=typos.toml")
    result.stderr.fnmatch_lines(["ERROR: There is no file *typos.toml to take shapes from. Did you mean 'typo.toml'?"])


def test_a_bad_file_that_a_test_loads_is_a_short_error_of_its_collection(user):
    user.makefile(".toml", typo=GRID.replace("seqlen", "seqlne"))
    user.makepyfile(test_load="from pytest_kgate import shapes\nGRID = shapes.load('typo.toml')\n")
    result = user.runpytest_inprocess("test_load.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *typo.toml, line 5: a shape has no field 'seqlne'. Did you mean 'seqlen'?"])
    result.stdout.no_fnmatch_line("*toml_lines.py*")


def test_shapes_that_no_test_has_are_an_error(user):
    result = user.runpytest_inprocess("--kgate-shapes=canonical", "-k", "test_list and 17")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: --kgate-shapes canonical: no test has any of its 6 shapes; they have 1x8x17x64.",
            "Choose another grid, or parametrize *",
        ]
    )


def test_a_session_without_any_shape_runs_and_says_that_nothing_was_chosen(user):
    result = user.runpytest_inprocess("--kgate-shapes=canonical", "-k", "test_without")
    result.assert_outcomes(passed=1, deselected=28)
    result.stdout.fnmatch_lines(["kgate: --kgate-shapes canonical chose nothing: *"])


def test_a_bad_marker_is_told_under_xdist_too(warm, pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.speedup('x')\ndef test_gate():\n    pass\n")
    result = pytester.runpytest_subprocess("-n1", "-pno:cacheprovider")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*@pytest.mark.speedup('x'): bound must be a positive finite number*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
