"""README and docs hang together: what they link to, name and list is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import PAGES
from pages import ROOT
from pages import blocks
from pages import text_of

from pytest_kgate import cli
from pytest_kgate.evaluation.options.options import OPTIONS
from pytest_kgate.report.page.markdown import update_block
from pytest_kgate.report.record.verdicts import documented

INDEX = "docs/README.md"


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", prose(str(path.relative_to(ROOT))), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str) -> Iterator[str]:
    """The page's links to files or headings that are not there; what is on the web is not asked for."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = ROOT / page if not path else (ROOT / page).parent / path
        if path.startswith(("https://", "http://")):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.resolve())):
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert list(broken_links(page)) == []


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([^)#\s]+)\)", text_of(INDEX)))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - listed == {Path(INDEX).name}


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_compiles(page: str) -> None:
    for text in blocks(page, "python"):
        compile(text, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_every_option_named_exists(page: str) -> None:
    flags = {option.flag for option in OPTIONS}
    assert set(re.findall(r"--kgate-[a-z]+(?:-[a-z]+)*", text_of(page))) <= flags


def test_every_option_is_listed() -> None:
    assert {option.flag for option in OPTIONS} == set(re.findall(r"--kgate-[a-z-]+", text_of("docs/options.md")))


def test_every_verb_is_listed() -> None:
    listed = set(re.findall(r"`kgate ([a-z-]+)", text_of("docs/commands.md")))
    assert listed == set(cli._VERBS)


def test_table_of_verdicts_is_the_one_that_the_code_goes_by() -> None:
    page = text_of("docs/verdicts.md")
    assert update_block(page, "verdicts", documented()) == page
