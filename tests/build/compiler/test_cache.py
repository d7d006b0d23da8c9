from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kgate.build import registry
from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import recipe
from pytest_kgate.errors import KgateError

ROOT = Path(__file__).parents[3]
BUILD = """
import sys
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja, recipe
print(ninja.build(recipe.recipe(registry.find_source(sys.argv[1]), {})).path)
"""


def recipe_of(path: Path, **knobs: int) -> recipe.Recipe:
    source = registry.find_source(path)
    return recipe.recipe(source, registry.check_knobs(source, knobs))


def build_elsewhere(source: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, source],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KGATE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.root() == tmp_path / ".cache" / "pytest-kgate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "pytest-kgate"
    monkeypatch.setenv("KGATE_CACHE_DIR", "~/mine")
    assert cache.root() == tmp_path / "mine"


def test_concurrent_first_builds_compile_once(write_kernel, counting_compiler, empty_cache: Path) -> None:
    script, journal = counting_compiler
    source = write_kernel(before="#include <regex>\nstatic std::regex slow_to_compile;")
    processes = [build_elsewhere(source, CXX=str(script)) for _ in range(4)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert len(journal.read_text().splitlines()) == 1


def test_a_killed_build_leaves_nothing_in_the_way(write_kernel, tmp_path: Path, empty_cache: Path) -> None:
    stuck = tmp_path / "stuck-c++"
    stuck.write_text('#!/bin/sh\n[ "$1" = --version ] && exec c++ --version\nsleep 600\n')
    stuck.chmod(0o755)
    source = write_kernel()
    process = build_elsewhere(source, CXX=str(stuck))
    try:
        deadline = time.monotonic() + 60
        while not list(empty_cache.glob("mine-*.tmp/compiler.log")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()  # the compiler it started lives on, as it would
        process.wait()
        built = ninja.build(recipe_of(source))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert built.path.is_file()
    assert not built.cached
    assert not list(empty_cache.glob("*.tmp")), "what the killed process left is cleared away"


@pytest.mark.parametrize("damage", ["no manifest", "no library", "cut short", "one bit", "nonsense", "empty"])
def test_a_damaged_entry_is_built_anew(damage: str, write_kernel, empty_cache: Path) -> None:
    how = recipe_of(write_kernel())
    library = ninja.build(how).path
    manifest = library.parent / "build.json"
    content = library.read_bytes()
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "no library":
        library.unlink()
    elif damage == "cut short":
        library.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        library.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "nonsense":
        manifest.write_text('["not", "a manifest"]')
    else:
        library.unlink()
        manifest.unlink()
    again = ninja.build(how)
    assert not again.cached
    assert again.path == library
    assert library.read_bytes() == content
    assert ninja.build(how).cached


def test_what_a_source_includes_decides_its_key(tmp_path: Path) -> None:
    source = tmp_path / "mine.cpp"
    (tmp_path / "deep").mkdir()
    source.write_text('#include "deep/outer.h"\n#include "sdpa.h"\n#include "cuda_fp16.h"\n')
    (tmp_path / "deep" / "outer.h").write_text('  #  include "inner.h"\n#include "outer.h"\n')
    inner = tmp_path / "deep" / "inner.h"
    inner.write_text("// one")
    keys = [recipe_of(source).key]
    inner.write_text("// two")
    keys.append(recipe_of(source).key)
    (tmp_path / "deep" / "unrelated.h").write_text("// not included")
    assert recipe_of(source).key == keys[1]
    source.write_text(source.read_text() + "// a comment\n")
    keys.append(recipe_of(source).key)
    assert len(set(keys)) == 3


def test_flags_knobs_and_compiler_decide_the_key(write_kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_kernel(
        before="#ifndef A  // knob: a\n#define A 1\n#endif\n#ifndef B  // knob: b\n#define B 1\n#endif"
    )
    plain = recipe_of(source)
    keys = {plain.key, recipe_of(source, A=1).key, recipe_of(source, A=2).key}
    keys.add(recipe.recipe(registry.find_source(source), {}, debug=True).key)
    assert recipe_of(source, A=2, B=3).key == recipe_of(source, B=3, A=2).key
    monkeypatch.setenv("CXX", "c++ -march=native")
    keys.add(recipe_of(source).key)
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(recipe, "ABI_VERSION", 99)
    keys.add(recipe_of(source).key)
    assert len(keys) == 6


def test_the_same_source_elsewhere_is_the_same_entry(tmp_path: Path, empty_cache: Path, write_kernel) -> None:
    source = write_kernel()
    copy = tmp_path / "elsewhere" / "mine.cpp"
    copy.parent.mkdir()
    copy.write_text(source.read_text())
    ninja.build(recipe_of(source))
    again = ninja.build(recipe_of(copy))
    assert again.cached
    assert str(copy) in again.command


def test_a_cache_below_a_file_names_the_directory_and_the_way_out(
    tmp_path: Path, write_kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(KgateError, match="Not a directory") as caught:
        ninja.build(recipe_of(write_kernel()))
    assert str(tmp_path / "file" / "cache") in caught.value.what
    assert "KGATE_CACHE_DIR" in caught.value.todo


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_still_serves_what_it_has(write_kernel, empty_cache: Path) -> None:
    how = recipe_of(write_kernel())
    ninja.build(how)
    empty_cache.chmod(0o500)
    try:
        assert ninja.build(how).cached
        with pytest.raises(KgateError, match="Permission denied") as caught:
            ninja.build(recipe_of(write_kernel("return 1;")))
    finally:
        empty_cache.chmod(0o700)
    assert "KGATE_CACHE_DIR" in caught.value.todo


def test_a_warm_load_writes_nothing(write_kernel, empty_cache: Path) -> None:
    how = recipe_of(write_kernel())
    ninja.build(how)
    before = {path: path.stat().st_mtime_ns for path in empty_cache.rglob("*")}
    assert ninja.build(recipe_of(write_kernel())).cached
    assert {path: path.stat().st_mtime_ns for path in empty_cache.rglob("*")} == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_publishing_says_so(
    number: int, write_kernel, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, destination: object) -> None:
        raise OSError(number, os.strerror(number))

    how = recipe_of(write_kernel())
    monkeypatch.setattr("pytest_kgate.build.compiler.cache.os.replace", full)
    with pytest.raises(KgateError, match="its disk is full") as caught:
        ninja.build(how)
    assert str(empty_cache) in caught.value.what
    assert not list(empty_cache.glob("*.tmp"))


def test_a_full_disk_while_compiling_is_no_compile_error(
    tmp_path: Path, write_kernel, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full-c++"
    message = "/usr/bin/ld: final link failed: No space left on device"
    full.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec c++ --version\necho "{message}" >&2\nexit 1\n')
    full.chmod(0o755)
    monkeypatch.setenv("CXX", str(full))
    with pytest.raises(KgateError, match="its disk is full"):
        ninja.build(recipe_of(write_kernel()))


def test_waiting_for_another_builder_ends(write_kernel, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = recipe_of(write_kernel())
    with cache.locked([how.key]):
        monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)
        with pytest.raises(KgateError, match=r"Another process has held .*mine.*lock"):
            ninja.build(how)
