from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from pytest_kgate.build import kernel
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import recipe
from pytest_kgate.errors import BuildError

KNOB = """
#ifndef BLOCK_M  // knob: query rows of a tile
#define BLOCK_M 64
#endif
static_assert(BLOCK_M % 16 == 0, "BLOCK_M must be a multiple of 16, the rows of one fragment.");
#if BLOCK_M > 1024
#error "BLOCK_M is at most 1024."
#endif
"""


def recipe_of(path: Path, **knobs: int) -> recipe.Recipe:
    source = registry.find_source(path)
    return recipe.recipe(source, registry.check_knobs(source, knobs), arch="sm_80")


def first_value(candidate: kernel.Kernel) -> float:
    q = torch.zeros(1, 1, 1, 1)
    return candidate(q, q.clone(), q.clone()).item()


def test_a_compile_error_shows_the_whole_output_once_and_how_to_see_it_again(
    write_kernel, tmp_path: Path, empty_cache: Path
) -> None:
    path = write_kernel("return first_mistake;", before="int helper() { return second_mistake; }")
    with pytest.raises(BuildError) as caught:
        ninja.build(recipe_of(path))
    text = str(caught.value)
    assert text.startswith("mine does not compile: ")
    assert "second_mistake" in text.splitlines()[0], "the first error is the headline"
    (line,) = [line for line in text.splitlines() if line.startswith("$ ")]
    (tmp_path / "scratch").mkdir()
    again = subprocess.run(
        line[2:],
        shell=True,
        cwd=tmp_path / "scratch",
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert again.returncode != 0
    assert "first_mistake" in again.stderr
    assert text.count(again.stderr.strip()) == 1
    assert not list(empty_cache.glob("*.tmp"))


def test_a_failure_is_compiled_once_and_its_output_shown_once(
    write_kernel, counting_compiler, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, journal = counting_compiler
    monkeypatch.setenv("CXX", str(script))
    path = write_kernel("return mistake;")
    (error,) = kernel.prepare([(path, {})])
    assert isinstance(error, BuildError)
    with pytest.raises(BuildError, match=r"mistake(.|\n)*\n\$ "):
        kernel.load_kernel(path)
    with pytest.raises(BuildError, match=r"\Amine does not compile: .*mistake.*first failure .* shows") as caught:
        kernel.load_kernel(path)
    assert "\n$ " not in str(caught.value)
    assert len(journal.read_text().splitlines()) == 1
    path.write_text(path.read_text().replace("mistake", "0"))
    kernel.load_kernel(path)


def test_a_compiler_that_dies_silently_leaves_its_exit_status(
    tmp_path: Path, write_kernel, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute-c++"
    mute.write_text('#!/bin/sh\n[ "$1" = --version ] && exec c++ --version\nkill -9 $$\n')
    mute.chmod(0o755)
    monkeypatch.setenv("CXX", str(mute))
    with pytest.raises(BuildError, match=r"\Amine does not compile: .* status 137: .* killed"):
        ninja.build(recipe_of(write_kernel()))


def test_a_cache_path_with_dots_works(tmp_path: Path, write_kernel, monkeypatch, shared_cache) -> None:
    monkeypatch.setenv("KGATE_CACHE_DIR", f"{tmp_path}//gone/../cache")
    assert ninja.build(recipe_of(write_kernel())).path.is_relative_to(tmp_path / "cache")


def test_the_command_of_a_good_build_reproduces_it(write_kernel, tmp_path: Path, empty_cache: Path) -> None:
    built = ninja.build(recipe_of(write_kernel()))
    subprocess.run(built.command, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "mine.so").read_bytes() == built.path.read_bytes()


@pytest.mark.parametrize("suffix", [".cpp", ".cu"])
def test_a_knob_that_the_source_refuses_is_told_in_the_sources_own_words(
    suffix: str, write_kernel, empty_cache: Path, request: pytest.FixtureRequest
) -> None:
    if suffix == ".cu":
        request.getfixturevalue("nvcc")
    path = write_kernel(before=KNOB, name=f"mine{suffix}")
    with pytest.raises(BuildError) as caught:
        ninja.build(recipe_of(path, BLOCK_M=24))
    assert str(caught.value).splitlines()[0] == (
        "mine(BLOCK_M=24) does not compile: BLOCK_M must be a multiple of 16, the rows of one fragment."
    )
    assert "knob" in caught.value.todo
    with pytest.raises(BuildError, match=r'\Amine\(BLOCK_M=2048\) does not compile: "?BLOCK_M is at most 1024\.'):
        ninja.build(recipe_of(path, BLOCK_M=2048))


@pytest.mark.parametrize(
    "line",
    [
        'm.cu(3): error: static assertion failed with "TILE is too large."',
        "m.cpp:3:15: error: static assertion failed: TILE is too large.",
        "m.cpp:3:15: error: static assertion failed due to requirement '300 < 256': TILE is too large.",
        "m.cpp:3:1: error: static_assert failed due to requirement '300 < 256' \"TILE is too large.\"",
    ],
    ids=["nvcc", "g++", "clang++", "old clang++"],
)
def test_each_compilers_way_to_report_a_static_assert_is_understood(line: str, write_kernel) -> None:
    error = ninja._explain(recipe_of(write_kernel()), f"noise\n{line}\nmore noise")
    assert str(error).splitlines()[0] == "mine does not compile: TILE is too large."


def test_an_architecture_that_nvcc_does_not_know_is_nvccs_message(write_kernel, empty_cache: Path, nvcc: None) -> None:
    source = registry.find_source(write_kernel(name="mine.cu"))
    with pytest.raises(BuildError, match=r"nvcc fatal.*compute_13"):
        ninja.build(recipe.recipe(source, {}, arch="sm_13"))


def test_one_broken_source_takes_nothing_from_the_others(
    write_kernel, counting_compiler, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, journal = counting_compiler
    monkeypatch.setenv("CXX", str(script))
    good, bad = write_kernel(name="good.cpp"), write_kernel("return mistake;", name="bad.cpp")
    other = write_kernel("return 1;", name="other.cpp")
    first, error, second, repeated = ninja.build_many([recipe_of(p) for p in (good, bad, other, good)])
    assert isinstance(error, BuildError)
    assert "mistake" in error.what
    assert [Path(built.path).name for built in (first, second, repeated)] == ["good.so", "other.so", "good.so"]
    assert len(journal.read_text().splitlines()) == 3
    assert ninja.build(recipe_of(good)).cached
    assert not list(empty_cache.rglob("build.ninja"))


def test_many_kernels_are_prepared_at_once(write_kernel, empty_cache: Path) -> None:
    path = write_kernel("*out = BLOCK_M; return 0;", before=KNOB)
    built = kernel.prepare([(path, {"BLOCK_M": rows}) for rows in (16, 24, 32)])
    assert [isinstance(outcome, BuildError) for outcome in built] == [False, True, False]
    assert kernel.load_kernel(path, {"BLOCK_M": 32}).build.cached
    assert kernel.prepare([]) == []


def test_knobs_and_debug_reach_the_code(write_kernel, empty_cache: Path) -> None:
    body = """
    *out = BLOCK_M;
    #ifdef KGATE_DEBUG
    *out += 0.5f;
    #endif
    return 0;"""
    path = write_kernel(body, before=KNOB)
    assert first_value(kernel.load_kernel(path)) == 64
    chosen = kernel.load_kernel(path, {"BLOCK_M": 32}, debug=True)
    assert first_value(chosen) == 32.5
    assert chosen.name == "mine(BLOCK_M=32, debug)"
    assert "-DBLOCK_M=32" in chosen.build.flags


def test_two_builds_of_one_source_share_no_static(write_kernel, empty_cache: Path) -> None:
    before = KNOB + "template <class T> int& calls() { static int count = 0; return count; }"
    path = write_kernel("*out = ++calls<float>(); return 0;", before=before)
    one, two = kernel.load_kernel(path), kernel.load_kernel(path, {"BLOCK_M": 32})
    assert [first_value(one), first_value(one), first_value(two)] == [1, 2, 1]


def test_paths_with_spaces_and_dollars_build(
    tmp_path: Path, write_kernel, monkeypatch: pytest.MonkeyPatch, shared_cache
) -> None:
    odd = tmp_path / "my $HOME: 'kernels'"
    odd.mkdir()
    monkeypatch.setenv("KGATE_CACHE_DIR", str(odd / "a cache"))
    path = write_kernel("*out = 7; return 0;").rename(odd / "mine.cpp")
    assert first_value(kernel.load_kernel(path)) == 7


def test_a_missing_entry_point_is_named(write_kernel, tmp_path: Path, empty_cache: Path) -> None:
    (tmp_path / "mine.cpp").write_text('extern "C" int my_attention() { return 0; }')
    with pytest.raises(BuildError, match="has no function kgate_sdpa") as caught:
        kernel.load_kernel(tmp_path / "mine.cpp")
    assert 'extern "C" int kgate_sdpa' in caught.value.todo


def test_an_undefined_symbol_is_named(write_kernel, empty_cache: Path) -> None:
    path = write_kernel("return missing_helper();", before='extern "C" int missing_helper();')
    with pytest.raises(BuildError, match=r"can't be loaded: .*undefined symbol: missing_helper"):
        kernel.load_kernel(path)


def test_a_warm_load_is_much_faster_than_a_cold_one(write_kernel, empty_cache: Path) -> None:
    path = write_kernel(before="#include <regex>\nstatic std::regex slow_to_compile;")

    def seconds() -> float:
        start = time.perf_counter()
        kernel.load_kernel(path)
        return time.perf_counter() - start

    cold = seconds()
    assert cold > 20 * min(seconds() for _ in range(5))


def test_a_result_says_how_it_was_built(write_kernel, empty_cache: Path) -> None:
    how = recipe_of(write_kernel())
    first, second = ninja.build(how), ninja.build(how)
    assert not first.cached
    assert second.cached
    assert 0 < second.seconds == first.seconds
    assert len(first.source_hash) == 64
    assert first.resources == ()
    assert first.compiler in (how.compiler.name, second.compiler)
    assert str(how.source) in first.command
