"""Options: who wins, what is allowed, and what the error says."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.options import OPTIONS
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.session.options.sources import from_config


class Config:
    """The little of pytest.Config that options are read from."""

    def __init__(self, cli: dict[str, str] | None = None, ini: dict[str, str] | None = None) -> None:
        self.cli = cli or {}
        self.ini = ini or {}
        self.inipath: Path | None = Path("/project/pytest.ini")
        self.invocation_params = SimpleNamespace(dir=Path("/started/here"))

    def getoption(self, name: str, default: object = None) -> Any:
        return self.cli.get(name.removeprefix("kgate_"), default)

    def getini(self, name: str) -> Any:
        return self.ini.get(name.removeprefix("kgate_"))


def options(
    cli: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    ini: dict[str, str] | None = None,
) -> Options:
    return from_config(Config(cli, ini), environ or {})  # type: ignore[arg-type]


def message(**where: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        options(**where)
    return str(caught.value)


def test_defaults_of_the_table_are_those_of_the_dataclass() -> None:
    assert options() == Options()
    assert set(options().sources.values()) == {"default"}
    assert [option.name for option in OPTIONS] == [name for name in vars(Options()) if name != "sources"]


@pytest.mark.parametrize(
    ("name", "marker", "cli", "environ", "ini", "wanted"),
    [
        ("budget", 1, "2", "3", "4", [1.0, 2.0, 3.0, 4.0, 10.0]),
        ("seed", 1, "2", "3", "4", [1, 2, 3, 4, None]),
        ("timer", "eager", "queue", "graph", "wall", ["eager", "queue", "graph", "wall", "auto"]),
        (
            "sdpa_backend",
            "math",
            "flash",
            "cudnn",
            "efficient",
            ["math", "flash", "cudnn", "efficient", "fastest"],
        ),
        ("inconclusive", "warn", "skip", "fail", "warn", ["warn", "skip", "fail", "warn", "fail"]),
        ("processes", 3, "4", "5", "6", [3, 4, 5, 6, 1]),
        ("isolate", True, "no", "on", "0", [True, False, True, False, False]),
    ],
)
def test_marker_beats_command_line_beats_environment_beats_ini_beats_default(
    name: str, marker: object, cli: str, environ: str, ini: str, wanted: list[object]
) -> None:
    variable = f"KGATE_{name.upper()}"
    flag = f"--kgate-{name.replace('_', '-')}"
    steps = [
        override(options({name: cli}, {variable: environ}, {name: ini}), **{name: marker}),
        options({name: cli}, {variable: environ}, {name: ini}),
        options({}, {variable: environ}, {name: ini}),
        options({}, {}, {name: ini}),
        options(),
    ]
    assert [getattr(step, name) for step in steps] == wanted
    assert [step.sources[name] for step in steps] == ["marker", flag, variable, "ini", "default"]


def test_impl_is_also_read_from_the_short_variable() -> None:
    assert options(environ={"IMPL": "wmma, custom_v3"}).impl == ("wmma", "custom_v3")
    both = options(environ={"IMPL": "wmma", "KGATE_IMPL": "custom_v3"})
    assert (both.impl, both.sources["impl"]) == (("custom_v3",), "KGATE_IMPL")


def test_knobs_are_given_one_by_one_or_together() -> None:
    found = options(cli={"knob": ["BLOCK_M=128", "STAGES=2"]})  # type: ignore[dict-item]
    assert (found.knob, found.sources["knob"]) == ((("BLOCK_M", 128), ("STAGES", 2)), "--kgate-knob")
    assert options(environ={"KGATE_KNOB": "BLOCK_M=128 STAGES=2"}).knob == found.knob
    assert options(ini={"knob": "BLOCK_M=128,STAGES=2"}).knob == found.knob
    assert "The knob A is set (ini) and swept (--kgate-sweep)" in message(cli={"sweep": "A=1,2"}, ini={"knob": "A=1"})


def test_empty_variable_counts_as_not_set() -> None:
    assert options(environ={"KGATE_BUDGET": "", "IMPL": ""}) == Options()


@pytest.mark.parametrize("word", ["1", "true", "True", "yes", "on"])
def test_gpu_can_be_required_from_the_environment(word: str) -> None:
    assert options(environ={"KGATE_REQUIRE_GPU": word}).require_gpu
    assert not options(environ={"KGATE_REQUIRE_GPU": "0"}, ini={"require_gpu": "true"}).require_gpu


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {"cli": {"budget": "abc"}},
            "--kgate-budget cannot be 'abc'.\nIt takes a positive number of seconds",
        ),
        ({"cli": {"budget": "0"}}, "--kgate-budget cannot be '0'"),
        ({"cli": {"budget": "-1"}}, "--kgate-budget cannot be '-1'"),
        ({"environ": {"KGATE_BUDGET": "nan"}}, "KGATE_BUDGET cannot be 'nan'"),
        ({"ini": {"timeout": "inf"}}, "kgate_timeout in the ini file cannot be 'inf'"),
        ({"cli": {"timer": "fast"}}, "It takes auto, graph, queue, eager or wall."),
        ({"environ": {"KGATE_CACHE": "warm"}}, "KGATE_CACHE cannot be 'warm'.\nIt takes hot or cold."),
        ({"cli": {"device": "cpu"}}, "It takes auto, host, cuda or cuda:N, such as cuda:1."),
        ({"cli": {"device": "cuda:"}}, "--kgate-device cannot be 'cuda:'"),
        ({"cli": {"device": "cuda:1\n"}}, "--kgate-device cannot be 'cuda:1\\n'"),
        ({"cli": {"knob": "STAGES"}}, "--kgate-knob cannot be 'STAGES'.\nIt takes names with a value each"),
        ({"environ": {"KGATE_SWEEP": "A=1 A=2"}}, "KGATE_SWEEP cannot be 'A=1 A=2'.\nIt takes names with different"),
        ({"cli": {"seed": "4.2"}}, "--kgate-seed cannot be '4.2'.\nIt takes a whole number from 0"),
        ({"cli": {"seed": "-1"}}, "--kgate-seed cannot be '-1'"),
        ({"cli": {"json": ""}}, "--kgate-json cannot be ''.\nIt takes the path of a file"),
        ({"environ": {"KGATE_REQUIRE_GPU": "maybe"}}, "It takes true or false."),
        ({"environ": {"IMPL": "wmma,,custom_v3"}}, "IMPL cannot be 'wmma,,custom_v3'"),
        ({"cli": {"impl": ""}}, "It takes implementation names separated by commas"),
        ({"ini": {"sdpa_backend": "fast"}}, "It takes fastest, flash, cudnn, efficient, math or flex."),
        ({"cli": {"inconclusive": "pass"}}, "It takes fail, skip or warn."),
        ({"cli": {"processes": "2"}}, "It takes 1, or a whole number from 3, such as 5 (two processes tell next to"),
        ({"environ": {"KGATE_PROCESSES": "0"}}, "KGATE_PROCESSES cannot be '0'"),
        ({"ini": {"processes": "3.5"}}, "kgate_processes in the ini file cannot be '3.5'"),
        ({"cli": {"arch": "hopper"}}, "It takes a GPU architecture as nvcc names it, such as sm_90a."),
    ],
)
def test_bad_value_is_named_with_its_source_and_what_is_allowed(where: Any, said: str) -> None:
    assert said in message(**where)


@pytest.mark.parametrize("value", [True, None, "abc", [1], float("nan"), float("inf"), 10**400, Decimal(3)])
def test_marker_value_is_held_to_the_same_rules(value: object) -> None:
    with pytest.raises(UsageError, match=r"budget \(kbench\) cannot be .*\nIt takes a positive number"):
        override(options(), "kbench", budget=value)


def test_numbers_of_a_marker_may_be_of_any_kind() -> None:
    given: dict[str, object] = {"budget": Fraction(5, 2), "timeout": np.float32(3), "processes": np.int64(3)}
    found = override(options(), **given, seed=np.int64(7))
    assert (found.budget, found.timeout, found.processes, found.seed) == (2.5, 3.0, 3, 7)
    assert [type(one) for one in (found.budget, found.timeout, found.processes, found.seed)] == [float, float, int, int]


@pytest.mark.parametrize("name", ["processes", "seed"])
@pytest.mark.parametrize("value", [True, 3.0, 2.5, "1e2", float("nan"), Fraction(7, 2)])
def test_whole_number_of_a_marker_is_no_other_number(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"{name} \(marker\) cannot be "):
        override(options(), **{name: value})


def test_value_that_python_does_not_write_is_told_by_its_type() -> None:
    with pytest.raises(UsageError, match=r"seed \(marker\) cannot be a value of type int"):
        override(options(), seed=10**5000)


def test_option_of_the_session_cannot_be_set_for_one_test() -> None:
    with pytest.raises(UsageError) as caught:
        override(options(), json="x.json")
    assert str(caught.value) == (
        "json (marker) is not an option of one test.\n"
        "These are: against, timer, cache, budget, seed, sdpa_backend, inconclusive, weak, rule, processes, "
        "percentile, isolate, timeout, debug."
    )


def test_isolated_candidate_is_timed_from_outside() -> None:
    assert options({"isolate": "true", "processes": "3"}).processes == 3
    assert "cannot go with timer=queue (ini)" in message(cli={"isolate": "true"}, ini={"timer": "queue"})
    assert options({"isolate": "true", "timer": "wall", "device": "host"}).isolate


def test_classic_rule_over_several_processes_is_refused() -> None:
    said = message(ini={"rule": "classic"}, cli={"processes": "5"})
    assert "rule=classic (ini) cannot go with processes=5 (--kgate-processes)" in said
    assert options(ini={"rule": "classic"}, cli={"processes": "1"}).processes == 1


def test_wall_timer_with_cold_cache_says_which_timers_can() -> None:
    said = message(cli={"timer": "wall"}, environ={"KGATE_CACHE": "cold"})
    assert "timer=wall (--kgate-timer) cannot go with cache=cold (KGATE_CACHE)" in said
    assert "graph or queue" in said
    with pytest.raises(UsageError, match=r"cache=cold \(marker\)"):
        override(options({"timer": "wall"}), cache="cold")
    check_conflicts(options({"timer": "queue", "cache": "cold"}))
    check_conflicts(options({"cache": "cold"}))


@pytest.mark.parametrize(
    ("device", "timer", "hint"), [("host", "graph", "auto or timer=wall"), ("cuda:1", "wall", "timer=graph")]
)
def test_timer_that_the_named_device_lacks_is_refused(device: str, timer: str, hint: str) -> None:
    said = message(cli={"device": device}, ini={"timer": timer})
    assert f"timer={timer} (ini) cannot go with device={device} (--kgate-device)" in said
    assert hint in said


def test_timer_is_not_held_against_a_device_yet_to_be_found() -> None:
    assert options({"timer": "wall"}).timer == "wall"


def test_path_from_the_ini_file_is_relative_to_it() -> None:
    assert options(ini={"json": "r.json"}).json == Path("/project/r.json")
    assert options({"json": "r.json"}).json == Path("/started/here/r.json")
    assert options({"json": "/tmp/r.json"}).json == Path("/tmp/r.json")


def test_records_cannot_go_to_a_directory(tmp_path: Path) -> None:
    said = message(cli={"json": str(tmp_path)})
    assert said.startswith(f"--kgate-json names a directory: {tmp_path}.\nName a file in it")
    assert message(cli={"html": str(tmp_path)}).endswith(f"Name a file in it: {tmp_path / 'kgate.html'}.")


def test_a_page_cannot_take_the_place_of_the_records() -> None:
    said = message(cli={"html": "kgate.json"}, environ={"KGATE_JSON": "kgate.json"})
    assert "html=/started/here/kgate.json (--kgate-html) cannot go with json=" in said


def test_every_option_can_be_found_in_the_help(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help")
    flat = " ".join(result.stdout.str().split())
    for option in OPTIONS:
        for name in (option.flag, option.ini, *option.environ):
            assert name in flat
    assert set(PER_TEST) < {option.name for option in OPTIONS}


def test_bad_option_ends_the_session_with_one_line_and_no_traceback(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--kgate-budget=abc")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --kgate-budget cannot be 'abc'.", "It takes a positive number*"])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_options_reach_the_session_from_all_sides(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\nkgate_budget = 3\nkgate_seed = 7\nkgate_json = out/records.json\n")
    monkeypatch.setenv("KGATE_SEED", "8")
    pytester.makepyfile(
        """
        from pytest_kgate.session.options.sources import from_config

        def test_options(pytestconfig):
            options = from_config(pytestconfig)
            assert (options.budget, options.seed, options.cache) == (3.0, 8, "cold")
            assert options.require_gpu and options.sources["require_gpu"] == "--kgate-require-gpu"
            assert options.json == pytestconfig.rootpath / "out/records.json"
        """
    )
    # A flag takes no value: what follows is a file, and stays one.
    result = pytester.runpytest_inprocess("--kgate-cache=cold", "--kgate-require-gpu", pytester.path)
    result.assert_outcomes(passed=1)


def test_options_and_markers_import_nothing_heavy() -> None:
    code = (
        "import sys, pytest_kgate.session.options.sources, pytest_kgate.session.collection.markers;"
        "print([name for name in ('torch', 'numpy', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variable", "meant"), [("KGATE_ISOLATED", "KGATE_ISOLATE"), ("KGATE_BUDGETS", "KGATE_BUDGET")]
)
def test_variable_that_is_nearly_an_options_ends_the_session(variable: str, meant: str) -> None:
    said = message(environ={variable: "1"})
    assert said.startswith(f"No option is set by the environment variable {variable}.")
    assert f"Did you mean {meant}?" in said


def test_variables_of_other_names_are_none_of_its_business() -> None:
    others = ("KGATE_PROCESS", "KGATE_LOCK_DIR", "KGATE_CACHE_DIR", "KGATE_END", "KGATE_EQUAL", "KGATE_UNDER_TOOL")
    assert options(environ=dict.fromkeys(others, "1")) == Options()
