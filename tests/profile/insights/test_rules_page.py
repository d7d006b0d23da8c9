"""The tables in docs/profiling.md that are made of the rules and of the score's weights."""

from __future__ import annotations

from pathlib import Path

from pytest_kgate.profile.insights.command import page_table
from pytest_kgate.report.page.markdown import update_block
from pytest_kgate.report.ranking.table import weights_table

PAGE = Path(__file__).parents[3] / "docs" / "profiling.md"


def test_the_page_has_the_tables_that_these_make() -> None:
    """To make them anew: `python tests/profile/insights/test_rules_page.py`."""
    content = PAGE.read_text(encoding="utf-8")
    assert _updated(content) == content


def _updated(content: str) -> str:
    return update_block(update_block(content, "insights", page_table()), "score", weights_table())


if __name__ == "__main__":
    PAGE.write_text(_updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
