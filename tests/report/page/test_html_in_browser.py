"""The page as readers have it: in a headless Chromium, by mouse and keyboard, in two widths and colour schemes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Tab
from sample_records import session
from test_html_page import HOSTILE

from pytest_kgate.report.page.html.page import page
from pytest_kgate.report.record.document import load

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
PROFILED = BENCHMARKS / "h100" / "profile-2026-11-27.json"
MEASURED = (BENCHMARKS / "h100" / "perf-evening-2026-11-27.json", BENCHMARKS / "h200" / "perf-2026-11-21.json")

OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
FRAME = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)))"  # events of the last act are over
SHOWN = "document.querySelectorAll('{}:not([hidden])').length"
FOCUS = "(one => one.id || one.dataset.verdict || one.closest('.call')?.id || one.tagName)(document.activeElement)"

pytestmark = pytest.mark.skipif(browser.executable() is None, reason=browser.MISSING)


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """One browser for all tests of this file: it takes a second to start."""
    with browser.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a GPU session with counters; of two files, which is packed; of one record of each verdict, with odd names."""
    folder = tmp_path_factory.mktemp("pages")
    profiled = load(PROFILED)
    files = [(path.name, record) for path in MEASURED for record in load(path)]
    odd = session()
    for record, name in zip(odd, HOSTILE, strict=False):
        record["candidate"]["name"] = record["reason"] = record["test"] = name
    texts = {
        "profiled": page(profiled, [PROFILED.name] * len(profiled)),
        "packed": page([record for _, record in files], [name for name, _ in files]),
        "odd": page(odd, ["odd.json"] * len(odd)),
    }
    assert {name for name, text in texts.items() if 'id="pack"' in text} == {"packed"}
    paths = {name: folder / f"{name}.html" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8")
    return paths


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["profiled", "packed", "odd"])
def test_page_fits_its_window_and_fetches_and_complains_of_nothing(
    tab: Tab, pages: dict[str, Path], name: str, width: int
) -> None:
    tab.complaints.clear()
    tab.fetched.clear()
    tab.open(pages[name], width, scheme="dark" if width == 390 else "light")
    assert tab.run(OVERFLOW) == 0
    tab.run("document.getElementById('open').click()")
    assert tab.run("document.querySelectorAll('.call[open] .body figure').length") > 10
    assert tab.run(OVERFLOW) == 0
    assert tab.fetched == [pages[name].resolve().as_uri()]
    assert tab.complaints == []


def test_names_with_markup_run_nothing_and_are_read_as_they_are(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["odd"], 1280)
    assert tab.run("document.querySelectorAll('img, main script, [ontoggle], [onerror]').length") == 0
    names = tab.run("[...document.querySelectorAll('#forest tbody a bdi')].map(one => one.textContent)")
    assert {HOSTILE[0], HOSTILE[1]} <= set(names)


@pytest.mark.parametrize("name", ["odd", "packed"])
def test_tiles_and_words_filter_rows_and_sections(tab: Tab, pages: dict[str, Path], name: str) -> None:
    tab.open(pages[name], 1280)
    calls = tab.run(SHOWN.format(".call"))
    passed = tab.run("document.querySelectorAll('.call[data-v=PASS]').length")
    tab.run("document.querySelector('.tile[data-verdict=PASS]').click()")
    assert tab.run(SHOWN.format(".call")) == passed
    assert tab.run(SHOWN.format("#forest tbody tr:not([data-v=PASS])")) == 0
    assert tab.run("document.getElementById('shown').textContent") == f"{passed} of {calls} calls shown"
    tab.run("document.querySelector('.tile[data-verdict=PASS]').click()")
    assert tab.run(SHOWN.format(".call")) == calls
    find = "(box => {{ box.value = {!r}; box.dispatchEvent(new Event('input')) }})(document.getElementById('find'))"
    tab.run(find.format("no such candidate"))
    assert tab.run(SHOWN.format(".call")) == 0
    tab.run(find.format("test_" if name == "packed" else "schnell"))
    assert tab.run(SHOWN.format(".call")) == (calls if name == "packed" else 1)


def test_keyboard_reaches_tiles_rows_and_sections(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["packed"], 1280)
    reached = []
    for _ in range(400):
        tab.press("Tab")
        reached.append(tab.run(FOCUS))
        if reached[-1] == "r0":
            break
    assert {"PASS", "find", "open", "r0"} <= set(reached)
    tab.press("Enter")
    tab.run(FRAME)
    assert tab.run("document.getElementById('r0').open && document.querySelectorAll('#r0 figure').length") > 5
    tab.run("document.querySelector('.tile').focus()")
    tab.press(" ")
    assert tab.run("document.querySelector('.tile').getAttribute('aria-pressed')") == "true"


def test_link_of_a_row_opens_its_section(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["packed"], 1280)
    tab.run("document.querySelector('#forest a[href=\"#r7\"]').click()")
    tab.run(FRAME)
    assert tab.run("document.getElementById('r7').open") is True
    assert tab.run(FOCUS) == "r7"


def test_figures_are_copied_as_text(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["profiled"], 1280)
    tab.run("navigator.clipboard.writeText = (text) => { globalThis.copied = text; }")
    tab.run("document.querySelector('[data-copy=forest]').click()")
    lines = tab.run("copied").split("\n")
    assert lines[0].split("\t")[:4] == ["candidate, problem", "verdict", "interval", "ratio"]
    assert lines[1].split("\t")[0] == "custom_v3 sdpa 1x8x512x64 float16"
    tab.run("document.getElementById('r0').open = true")
    tab.run("document.querySelector('#r0 .numbers .copy').click()")
    assert tab.run("copied").split("\n")[1].startswith("1\t")


def test_page_can_be_printed(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["profiled"], 1280)
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.run("getComputedStyle(document.querySelector('.copy')).display") == "none"
    assert tab.run(OVERFLOW) == 0
    tab.call("Emulation.setEmulatedMedia", media="")
