"""The search marker: what is checked as tests are collected, before anything is built."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.search.space.written import read_space
from pytest_kgate.session.collection.marker_table import MARKERS
from pytest_kgate.session.collection.markers import gates_of
from pytest_kgate.session.collection.markers import validate
from pytest_kgate.session.collection.search_space import check_spaces
from pytest_kgate.session.collection.search_space import space_of

HOST = Options(device="host")


def marked(pytester: pytest.Pytester, marker: str, others: str = "") -> pytest.Item:
    return pytester.getitem(f"import pytest\n{others}\n@pytest.mark.search({marker})\ndef test_func(): pass\n")


def test_space_has_the_markers_knobs_and_the_devices_facts(pytester: pytest.Pytester) -> None:
    item = marked(
        pytester, 'macro={"M": [32, 64]}, micro={"S": range(2, 5)}, where=["M * S * 1024 <= smem_bytes", "arch >= 90"]'
    )
    space = space_of(item, replace(HOST, arch="sm_90a"))
    assert space is not None
    assert (dict(space.macro), dict(space.micro), space.size) == ({"M": (32, 64)}, {"S": (2, 3, 4)}, 5)
    assert space.facts["smem_bytes"] == 227 * 1024
    check_spaces([item], replace(HOST, arch="sm_90a"))
    with pytest.raises(UsageError, match=r"::test_func: None of the space's 6 combinations .*arch >= 90 is false"):
        check_spaces([item], replace(HOST, arch="sm_80"))


def test_marker_nearest_to_the_test_counts(pytester: pytest.Pytester) -> None:
    item = marked(pytester, 'micro={"S": [2]}', 'pytestmark = pytest.mark.search(micro={"A": [1]})')
    space = gates_of(item).search
    assert space is not None
    assert space.names == ("S",)


def test_test_without_the_marker_has_no_space(pytester: pytest.Pytester) -> None:
    assert space_of(pytester.getitem("def test_func(): pass"), HOST) is None


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("", "The space has no knobs"),
        ("{'A': [1]}", "too many positional arguments"),
        ("mikro={'A': [1]}", "unexpected keyword argument 'mikro'. Did you mean 'micro'?"),
        ("micro=['A', 'B']", "micro must be a dict of knobs"),
        ("micro={1: [1]}", "micro has 1 for a knob's name"),
        ("micro={'A B': [1]}", "micro has 'A B' for a knob's name"),
        ("micro={'cores': [1]}", "the knob cores has the name of a fact of the device"),
        ("micro={'A': 3}", "the knob A must have a list of values, such as [2, 3], not 3"),
        ("micro={'A': 'xy'}", "the knob A must have a list of values"),
        ("micro={'A': []}", "The knob A has no values."),
        ("micro={'A': [1, None]}", "the knob A has the value None"),
        ("micro={'A': [float('nan')]}", "the knob A has the value nan"),
        ("micro={'A': [1, 2, 1]}", "The knob A has the value 1 twice."),
        ("micro={'A': [1]}, macro={'A': [1]}", "The knob A is in macro and in micro."),
        ("micro={'A': [1]}, where='A < 2'", "where must be a list of constraints"),
        ("micro={'A': [1]}, where=['A < B']", "names B, which is neither a knob"),
        ("micro={'A': [1]}, where=['open(A)']", "has `open(A)` in it, which none may have"),
        ("micro={k: list(range(10)) for k in 'ABCDEFG'}", "10,000,000 combinations"),
        ("micro={'A': [1]})\n@pytest.mark.search(micro={'B': [1]}", "are in one place; only one of them can hold"),
    ],
)
def test_marker_that_makes_no_sense_is_named_with_its_test(pytester: pytest.Pytester, marker: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate([marked(pytester, marker)])
    assert "::test_func: @pytest.mark.search(" in caught.value.what
    assert said in caught.value.what
    assert caught.value.todo == f"Usage: {MARKERS['search'].usage}"


def test_collection_ends_before_anything_runs(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        @pytest.mark.search(micro={"S": [2, 3]}, where=["S > 3"])
        def test_it(kbench, knobs): raise SystemExit
    """
    pytester.makepyfile(textwrap.dedent(text))
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*None of the space's 2 combinations keeps all constraints*S > 3 is false: S=2*"])


def test_constraints_are_read_without_asking_any_device() -> None:
    space = read_space({"M": [1]}, None, ["M <= smem_bytes and cores > 0"])
    assert space.facts_asked == {"smem_bytes", "cores"}
