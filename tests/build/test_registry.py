from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pytest_kgate.build import includes
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import recipe
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError

SELECTOR = """
// KGATE_IMPLEMENTATION(name, "source", device, status, "one sentence") is how an entry looks
#define KGATE_IMPLEMENTATION(name, source, device, status, description) {#name}
KGATE_IMPLEMENTATION(first, "first.cu", cuda, ready, "The first, with (parentheses), and commas.")
KGATE_IMPLEMENTATION(later, "later.cpp", host, planned,
                     "Says \\"soon\\".")
"""
KNOBBED = """
#ifndef BLOCK_M  // knob: query rows of a tile
#define BLOCK_M 64
#endif
#ifndef GUARD_H
#define GUARD_H
#endif
  #  ifndef WARPS  //knob:  warps of a block
  #  define WARPS (BLOCK_M / 16)  // one for 16 rows
#endif
"""


def knobbed(tmp_path: Path) -> registry.Source:
    path = tmp_path / "mine.cu"
    path.write_text(KNOBBED)
    return registry.find_source(path)


def test_lines_of_the_selector_become_implementations() -> None:
    found = registry.parse_implementations(SELECTOR)
    assert list(found) == ["first", "later"]
    assert found["first"] == registry.Implementation(
        "first", "first.cu", "cuda", "ready", "The first, with (parentheses), and commas."
    )
    assert found["later"].device_kind == "host"
    assert found["later"].status == "planned"


def test_a_selector_line_with_an_unknown_device_is_an_error() -> None:
    with pytest.raises(KgateError, match="fast with device 'tpu'"):
        registry.parse_implementations('KGATE_IMPLEMENTATION(fast, "fast.cu", tpu, ready, "text")')


def test_every_shipped_implementation_that_is_ready_has_its_source() -> None:
    known = registry.implementations()
    assert {"host", "custom_v3", "wmma", "cublas", "cutensor", "hybrid_qkt", "mma"} <= set(known)
    assert {"hopper", "fp8", "decode"} <= set(known)
    for name, implementation in known.items():
        if implementation.status == "ready":
            source = registry.find_source(name)
            assert source.path.is_file()
            assert source.device_kind == implementation.device_kind
            assert "#ifndef" not in "".join(knob.default for knob in source.knobs)


def test_every_knob_comment_in_the_shipped_sources_is_understood() -> None:
    for path in registry.csrc_directory().rglob("*.c*"):
        text = path.read_text()
        assert len(registry.parse_knobs(text)) == text.count("// knob:"), path


def test_knobs_are_read_from_the_source(tmp_path: Path) -> None:
    assert knobbed(tmp_path).knobs == (
        registry.Knob("BLOCK_M", "64", "query rows of a tile"),
        registry.Knob("WARPS", "(BLOCK_M / 16)", "warps of a block"),
    )


def test_knobs_of_a_header_are_knobs_of_the_file_that_includes_it(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "tile.h").write_text("#ifndef TILE  // knob: rows\n#define TILE 4\n#endif\n")
    source = tmp_path / "mine.cpp"
    source.write_text('#include "sdpa.h"\n#include "parts/tile.h"\n#include "not_here.h"\n#include <cstdint>\n')
    found = registry.find_source(source)
    assert found.knobs == (registry.Knob("TILE", "4", "rows"),)
    assert registry.check_knobs(found, {"TILE": 8}) == {"TILE": 8}


def test_knobs_of_shipped_headers_are_offered_to_a_users_file_which_may_choose_another_default(tmp_path: Path) -> None:
    source = tmp_path / "mine.cu"
    source.write_text("#ifndef PAD  // knob: bytes\n#define PAD 16\n#endif\n" + '#include "cuda/knobs.cuh"\n')
    assert registry.find_source(source).knobs == (
        registry.Knob("PAD", "16", "bytes"),
        registry.Knob("HEAD_DIM", "0", "the only head dimension to compile, 0 for all"),
    )


def test_headers_that_include_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.h").write_text('#pragma once\n#include "b.h"\n#ifndef A  // knob: a\n#define A 1\n#endif\n')
    (tmp_path / "b.h").write_text('#pragma once\n#include "a.h"\n#ifndef B  // knob: b\n#define B 2\n#endif\n')
    source = tmp_path / "mine.cpp"
    source.write_text('#include "a.h"\n#include "b.h"\n')
    assert [knob.name for knob in registry.find_source(source).knobs] == ["B", "A"]


def test_a_knob_of_a_header_reaches_the_build(tmp_path: Path, shared_cache: None) -> None:
    (tmp_path / "answer.h").write_text("#ifndef ANSWER  // knob: what it returns\n#define ANSWER -9\n#endif\n")
    source = tmp_path / "mine.cpp"
    source.write_text(
        '#include "sdpa.h"\n#include "answer.h"\nstatic_assert(ANSWER < 0, "ANSWER must be negative.");\n'
        "KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs*, void*) { return ANSWER; }\n"
        'KGATE_EXPORT const char* kgate_message(void) { return ""; }\n'
    )
    found = registry.find_source(source)
    assert ninja.build(recipe.recipe(found, registry.check_knobs(found, {"ANSWER": -3}))).path.is_file()
    with pytest.raises(BuildError, match=r"ANSWER must be negative\."):
        ninja.build(recipe.recipe(found, registry.check_knobs(found, {"ANSWER": 3})))


def test_no_shipped_kernel_offers_a_knob_that_its_text_does_not_use() -> None:
    for name, entry in registry.implementations().items():
        if entry.status != "ready":
            continue
        source = registry.find_source(name)
        text = includes.expand(source.path, (registry.csrc_directory(),))
        for knob in source.knobs:
            used = re.sub(rf"#.*\b{knob.name}\b.*|static_assert.*|//.*", "", text)
            assert re.search(rf"\b{knob.name}\b", used), f"{name} declares {knob.name}, which nothing reads"


def test_a_misspelt_implementation_is_told_the_right_name() -> None:
    with pytest.raises(UsageError, match=r"no implementation 'WMAA'. Did you mean 'wmma'") as caught:
        registry.find_source("WMAA")
    assert "custom_v3" in caught.value.todo


def test_a_planned_implementation_says_so_and_names_the_ready_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    later = registry.Implementation("later", "kernels/later.cu", "cuda", "planned", "What is still to come.")
    listed = {**registry.implementations(), "later": later}
    monkeypatch.setattr(registry, "implementations", lambda: listed)
    with pytest.raises(UsageError, match="'later' is planned, there is no kernel yet") as caught:
        registry.find_source("later")
    assert "wmma" in caught.value.todo
    with pytest.raises(UsageError, match="There is no implementation 'latr'") as caught:
        registry.find_source("latr")
    assert "later (planned)" in caught.value.todo


def test_a_missing_file_is_named_in_full() -> None:
    with pytest.raises(UsageError, match=r"/nowhere/mine\.cu can't be read: No such file"):
        registry.find_source("/nowhere/mine.cu")


def test_a_python_file_is_no_kernel_source() -> None:
    with pytest.raises(UsageError, match=r"ends in neither \.cu .* nor \.cpp"):
        registry.find_source("kernels/mine.py")


def test_a_misspelt_knob_is_told_all_knobs_with_their_defaults(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no knob 'block_m'\. Did you mean 'BLOCK_M'") as caught:
        registry.check_knobs(knobbed(tmp_path), {"block_m": 64})
    assert "BLOCK_M=64 (query rows of a tile)" in caught.value.todo
    assert "WARPS=(BLOCK_M / 16) (warps of a block)" in caught.value.todo


def test_a_source_without_knobs_says_how_to_declare_one(tmp_path: Path) -> None:
    (tmp_path / "plain.cpp").write_text("")
    with pytest.raises(UsageError, match="plain has no knob 'TILE'") as caught:
        registry.check_knobs(registry.find_source(tmp_path / "plain.cpp"), {"TILE": 1})
    assert "#ifndef NAME  // knob: text" in caught.value.todo


@pytest.mark.parametrize("value", ["64", 64.0, None])
def test_a_knob_must_be_an_integer(tmp_path: Path, value: object) -> None:
    with pytest.raises(UsageError, match=r"BLOCK_M of mine must be an integer, got"):
        registry.check_knobs(knobbed(tmp_path), {"BLOCK_M": value})


def test_numpy_integers_are_integers(tmp_path: Path) -> None:
    checked = registry.check_knobs(knobbed(tmp_path), {"WARPS": np.int64(4), "BLOCK_M": 32})
    assert checked == {"BLOCK_M": 32, "WARPS": 4}
    assert type(checked["WARPS"]) is int


@pytest.mark.parametrize("layout", ["site-packages/pytest_kgate/csrc", "checkout/csrc"])
def test_sources_are_found_in_a_wheel_and_in_a_checkout(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / layout.split("/")[0]
    shutil.copytree(registry.csrc_directory(), tmp_path / layout)
    monkeypatch.setattr(registry, "__file__", str(top / "pytest_kgate" / "build" / "registry.py"))
    assert registry.csrc_directory() == tmp_path / layout


def test_a_package_without_sources_says_to_reinstall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "pytest_kgate" / "build" / "registry.py"))
    with pytest.raises(KgateError, match="Reinstall pytest-kgate"):
        registry.csrc_directory()
