"""Markers: how they add up, and what a user reads who wrote one wrongly."""

from __future__ import annotations

import inspect

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.session.collection.marker_table import MARKERS
from pytest_kgate.session.collection.markers import Demands
from pytest_kgate.session.collection.markers import gates_of
from pytest_kgate.session.collection.markers import validate
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate

SPEEDUP_USAGE = "Usage: @pytest.mark.speedup(bound, *, quantile=0.5, confidence=0.95)"
ALLCLOSE_USAGE = "Usage: @pytest.mark.allclose(atol, rtol=0.0, *, factor=None)"
PERF_USAGE = (
    "Usage: @pytest.mark.perf(*, against, timer, cache, budget, seed, sdpa_backend, inconclusive, weak, rule, "
    "processes, percentile, isolate, timeout, debug)"
)


def demands(pytester: pytest.Pytester, decorators: str) -> Demands:
    return gates_of(pytester.getitem(f"import pytest\n{decorators}\ndef test_func(): pass\n"))


def complaint(pytester: pytest.Pytester, decorators: str) -> str:
    with pytest.raises(UsageError) as caught:
        demands(pytester, decorators)
    return str(caught.value)


def test_stacked_gates_are_read_from_top_to_bottom(pytester: pytest.Pytester) -> None:
    read = demands(
        pytester,
        """
@pytest.mark.perf(timer="queue", budget=2)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(0.95)
@pytest.mark.speedup(1, quantile=0.9)
@pytest.mark.speedup(1.2, quantile=0.99, confidence=0.9)
""",
    )
    assert read.speed == (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9), SpeedGate(1.2, 0.99, 0.9))
    assert read.error == ErrorGate(2e-3)
    assert dict(read.overrides) == {"timer": "queue", "budget": 2.0}


def test_test_without_markers_demands_nothing(pytester: pytest.Pytester) -> None:
    read = demands(pytester, "")
    assert (read.speed, read.error, dict(read.overrides)) == ((), None, {})


def test_markers_of_module_class_test_and_parameter_add_up(pytester: pytest.Pytester) -> None:
    (item,) = pytester.getitems(
        """
        import pytest
        pytestmark = [pytest.mark.speedup(0.9), pytest.mark.speedup(0.8), pytest.mark.perf(budget=1, seed=1)]

        @pytest.mark.speedup(0.7)
        @pytest.mark.speedup(0.6)
        @pytest.mark.perf(budget=2, timeout=9)
        class TestAll:
            @pytest.mark.perf(budget=3, cache="cold")
            @pytest.mark.parametrize(
                "x", [pytest.param(1, marks=[pytest.mark.speedup(0.4), pytest.mark.perf(budget=4)])]
            )
            @pytest.mark.speedup(0.5)
            def test_one(self, x): pass
        """
    )
    read = gates_of(item)
    assert [gate.bound for gate in read.speed] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert dict(read.overrides) == {"budget": 4.0, "seed": 1, "timeout": 9.0, "cache": "cold"}


def test_same_bound_twice_is_one_gate_at_the_higher_confidence(pytester: pytest.Pytester) -> None:
    read = demands(
        pytester,
        """
@pytest.mark.speedup(1)
@pytest.mark.speedup(1.0, confidence=0.99)
@pytest.mark.speedup(1.0, quantile=0.9)
""",
    )
    assert read.speed == (SpeedGate(1.0, confidence=0.99), SpeedGate(1.0, quantile=0.9))


def test_nearest_tolerance_counts(pytester: pytest.Pytester) -> None:
    read = demands(
        pytester,
        """
pytestmark = pytest.mark.allclose(1e-4)

@pytest.mark.allclose(1e-3)
@pytest.mark.allclose(1e-2, rtol=0.1)
""",
    )
    assert read.error == ErrorGate(1e-2, rtol=0.1)


@pytest.mark.parametrize(
    ("written", "said", "usage"),
    [
        ("speedup", "@pytest.mark.speedup(): missing a required argument: 'bound'", SPEEDUP_USAGE),
        ("speedup(0.9, 0.5)", "too many positional arguments", SPEEDUP_USAGE),
        ("speedup(0.9, quantil=0.9)", "got an unexpected keyword argument 'quantil'", SPEEDUP_USAGE),
        ("speedup('0.9')", "bound must be a positive finite number, not '0.9'", SPEEDUP_USAGE),
        ("speedup(True)", "bound must be a positive finite number, not True", SPEEDUP_USAGE),
        ("speedup(0)", "bound must be a positive finite number, not 0", SPEEDUP_USAGE),
        (
            "speedup(-0.9)",
            "@pytest.mark.speedup(-0.9): bound must be a positive finite number",
            SPEEDUP_USAGE,
        ),
        ("speedup(float('inf'))", "bound must be a positive finite number, not inf", SPEEDUP_USAGE),
        ("speedup(float('nan'))", "bound must be a positive finite number, not nan", SPEEDUP_USAGE),
        ("speedup(1, quantile=1)", "quantile must be a number between 0 and 1, not 1", SPEEDUP_USAGE),
        ("speedup(1, quantile=90)", "quantile must be a number between 0 and 1, not 90", SPEEDUP_USAGE),
        ("speedup(1, confidence=95)", "confidence must be a number between 0.5 and 1, not 95", SPEEDUP_USAGE),
        ("speedup(1, confidence=0.5)", "confidence must be a number between 0.5 and 1", SPEEDUP_USAGE),
        ("allclose", "missing a required argument: 'atol'", ALLCLOSE_USAGE),
        ("allclose(tol=1e-3)", "missing a required argument: 'atol'. Did you mean 'atol'?", ALLCLOSE_USAGE),
        ("allclose(1e-3, tol=1e-3)", "unexpected keyword argument 'tol'. Did you mean 'rtol'?", ALLCLOSE_USAGE),
        ("allclose(-1e-3)", "atol must be a finite number, 0 or more, not -0.001", ALLCLOSE_USAGE),
        ("allclose(1e-3, rtol='x')", "rtol must be a finite number, 0 or more, not 'x'", ALLCLOSE_USAGE),
        ("allclose(0)", "atol and rtol cannot both be 0", ALLCLOSE_USAGE),
        ("perf('queue')", "too many positional arguments", PERF_USAGE),
        ("perf(jason='x')", "got an unexpected keyword argument 'jason'", PERF_USAGE),
        ("perf(device='host')", "got an unexpected keyword argument 'device'", PERF_USAGE),
        ("perf(timer='fast')", "cannot be 'fast'. It takes auto, graph, queue, eager or wall.", PERF_USAGE),
        ("perf(timer='wall', cache='cold')", "Use cache=hot, or a timer of a CUDA device", PERF_USAGE),
    ],
)
def test_bad_marker_is_named_with_its_test_and_its_usage(
    pytester: pytest.Pytester, written: str, said: str, usage: str
) -> None:
    text = complaint(pytester, f"@pytest.mark.{written}")
    first, last = text.split("\n")
    assert first.startswith("test_bad_marker_is_named_with_its_test_and_its_usage.py::test_func: ")
    assert said in first
    assert last == usage


def test_all_bad_markers_are_named_at_once_and_a_parametrized_one_once(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        """
        import pytest

        @pytest.mark.speedup(-1)
        @pytest.mark.parametrize("x", [1, 2, 3])
        def test_many(x): pass

        @pytest.mark.allclose()
        def test_one(): pass

        @pytest.mark.speedup(1.0)
        def test_good(): pass
        """
    )
    with pytest.raises(UsageError) as caught:
        validate(items)
    lines = str(caught.value).split("\n")
    assert "::test_many[1] (and 2 more): @pytest.mark.speedup(-1): bound must" in lines[0]
    assert "::test_one: @pytest.mark.allclose(): missing a required argument: 'atol'" in lines[1]
    assert lines[2:] == [SPEEDUP_USAGE, ALLCLOSE_USAGE]
    validate(items[-1:])


def test_signature_shown_is_the_one_that_is_bound() -> None:
    known = "perf speedup regression speed_of_light allclose sanitize resources metrics search"
    assert list(MARKERS) == known.split()
    for marker in MARKERS.values():
        assert marker.line.startswith(f"{marker.name}{marker.signature}: ")
    assert tuple(MARKERS["perf"].signature.parameters) == PER_TEST
    for name in ("speedup", "allclose"):
        assert list(MARKERS[name].signature.parameters) == list(inspect.signature(MARKERS[name].build).parameters)


def test_defaults_of_markers_are_those_of_the_gates() -> None:
    assert MARKERS["speedup"].read(pytest.mark.speedup(0.9).mark) == SpeedGate(0.9)
    assert MARKERS["allclose"].read(pytest.mark.allclose(0.1).mark) == ErrorGate(0.1)


def test_markers_are_listed_with_their_signatures(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines([f"@pytest.mark.{marker.line}".replace("[", "[[]") for marker in MARKERS.values()])


def test_bad_marker_ends_the_collection_with_its_usage_and_no_traceback(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.speedup('fast')\ndef test_it(): pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stdout.str() + result.stderr.str()
    assert "::test_it: @pytest.mark.speedup('fast'): bound must be a positive finite number, not 'fast'" in said
    assert SPEEDUP_USAGE in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("written", "meant"), [("spedup(0.9)", "speedup"), ("all_close(1e-3)", "allclose"), ("pref", "perf")]
)
def test_marker_that_is_misspelt_ends_the_collection(pytester: pytest.Pytester, written: str, meant: str) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.{written}
        def test_func(kbench): ...
    """)
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = written.partition("(")[0]
    result.stderr.fnmatch_lines([f"ERROR: *::test_func: there is no marker '{name}'. Did you mean '{meant}'?"])


MISSPELT = """
    import pytest

    @pytest.mark.spedup(0.9)
    @pytest.mark.parametrize("x", [1, 2])
    def test_fast(kbench, x): ...

    @pytest.mark.all_close(1e-3)
    @pytest.mark.pref
    def test_right(kbench): ...

    @pytest.mark.speedup("fast")
    def test_wrong(kbench): ...

    @pytest.mark.skip
    @pytest.mark.perf
    def test_good(kbench): ...
"""


def test_all_markers_that_are_misspelt_are_named_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSPELT)
    result = pytester.runpytest_inprocess("-k", "fast or right")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: *::test_fast[[]1] (and 1 more): there is no marker 'spedup'. Did you mean 'speedup'?",
            "*::test_right: there is no marker 'pref'. Did you mean 'perf'?",
            "*::test_right: there is no marker 'all_close'. Did you mean 'allclose'?",
            f"{SPEEDUP_USAGE}.",
            "Usage: @pytest.mark.perf(*).",
            "Usage: @pytest.mark.allclose(*). One of your own is to be registered: *",
        ],
        consecutive=True,
    )


def test_mistakes_of_tests_that_are_not_chosen_do_not_count(pytester: pytest.Pytester) -> None:
    file = pytester.makepyfile(MISSPELT)
    for chosen in (["-k", "test_good"], [f"{file}::test_good"], ["-m", "skip"]):
        result = pytester.runpytest_inprocess(*chosen, "-W", "ignore")
        assert result.ret == pytest.ExitCode.OK
        assert result.parseoutcomes()["skipped"] == 1


def test_test_that_is_left_out_since_its_marker_is_misspelt_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSPELT)
    result = pytester.runpytest_inprocess("-m", "perf")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_right: there is no marker 'pref'. Did you mean 'perf'?"])
    result.stderr.no_fnmatch_line("*test_fast*")


def test_marker_of_a_users_own_is_none_of_ours_misspelt(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    speedups(n): of mine\n    pref: mine")
    pytester.makepyfile("""
        import pytest

        @pytest.mark.speedups(3)
        @pytest.mark.pref
        @pytest.mark.slow
        @pytest.mark.parametrize("x", [1])
        @pytest.mark.skip
        def test_func(kbench, x): ...

        @pytest.mark.spedup
        def test_without(): ...
    """)
    pytester.runpytest_inprocess("-W", "ignore").assert_outcomes(skipped=1, passed=1)
