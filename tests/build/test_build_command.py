"""`kgate build` compiles ahead of the tests, and says how long builds and loads take."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate.build import library
from pytest_kgate.build.registry import Source
from pytest_kgate.build.registry import find_source
from pytest_kgate.build.verbs import command
from pytest_kgate.cli import main
from pytest_kgate.errors import LibraryMissing

KERNEL = """
#include "sdpa.h"
#ifndef BLOCK_M  // knob: rows
#define BLOCK_M 16
#endif
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs*, void*) { return 0; }
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""


def test_warm_load_takes_a_fraction_of_a_build_and_a_knob_change_no_more_than_one() -> None:
    timed = command.timing(find_source("host"), None)
    assert timed.warm < timed.cold / 4
    assert timed.knob < timed.cold * 3


def test_timings_leave_the_users_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.binding()
    (tmp_path / "mine.cpp").write_text(KERNEL)
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    timed = command.timing(find_source(tmp_path / "mine.cpp"), None)
    assert timed.name == "mine"
    assert not list(tmp_path.glob("cache/mine*"))


def test_build_says_where_each_library_is(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["build", "host"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("host (")
    assert "from the cache" in last
    assert Path(last.rpartition(", ")[2]).is_file()


@pytest.mark.parametrize(("arch", "left_out"), [("sm_80", ["hopper", "fp8"]), ("sm_90a", [])])
def test_kernels_of_another_architecture_are_left_out_unless_they_were_named(
    arch: str, left_out: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []
    monkeypatch.setattr(command, "_build_all", lambda sources, _: built.extend(one.name for one in sources) or 0)
    assert main(["build", "--arch", arch]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"kgate: {name} is left out. It is for sm_90a, not {arch}." for name in left_out]
    assert "wmma" in built
    assert ("hopper" in built) == ("fp8" in built) == (not left_out)
    assert main(["build", "hopper", "--arch", arch]) == 0
    assert built[-1] == "hopper"


def test_timings_become_a_block_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = command.Timing("mine", "sm_80", "nvcc 13.0.88", 3.0, 2.0, 0.004)
    monkeypatch.setattr(command, "timing", lambda source, arch: made)
    page = tmp_path / "page.md"
    page.write_text("<!-- kgate:build -->\n<!-- /kgate -->\n")
    assert main(["build", "host", "--timings", "--into", str(page), "--block", "build"]) == 0
    assert "| mine | sm\\_80 | 3.00 s | 2.00 s | 4.00 ms |" in page.read_text()
    assert "nvcc 13.0.88" in page.read_text()


def test_timings_leave_out_what_lacks_a_library_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def timing(source: Source, arch: str | None) -> command.Timing:
        if source.libraries:
            raise LibraryMissing(f"{source.name} needs a library.", "Install it.")
        return command.Timing(source.name, "sm_80", "nvcc 13.0.88", 3.0, 2.0, 0.004)

    monkeypatch.setattr(command, "timing", timing)
    page = tmp_path / "page.md"
    page.write_text("<!-- kgate:build -->\n<!-- /kgate -->\n")
    assert main(["build", "--timings", "--into", str(page), "--block", "build"]) == 0
    assert "cublas is left out. cublas needs a library." in capsys.readouterr().err
    assert "| wmma |" in page.read_text()
    assert "cublas" not in page.read_text()
    assert main(["build", "cublas", "--timings"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["wmna"], "no implementation 'wmna'"), (["host", "--into", "x"], "--into and --block belong together")],
)
def test_mistakes_are_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", *arguments]) == 2
    assert message in capsys.readouterr().err
