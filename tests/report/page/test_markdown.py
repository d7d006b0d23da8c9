"""The table of a README is made from records, and put where it belongs."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from sample_records import session
from sample_records import speed_record

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page.markdown import table
from pytest_kgate.report.page.markdown import update_block

README = "# Title\r\n<!-- kgate:h200 -->\nold\n<!-- /kgate -->\nrest\n<!-- kgate:cpu -->\n<!-- /kgate -->\n"


def test_table_is_a_table_with_a_row_for_each_gate() -> None:
    html = MarkdownIt().enable("table").render(table(session()))
    assert html.count("<tr>") == 12
    assert "<td>[0.607, 0.618]</td>" in html
    assert "NVIDIA H200, driver 570.1, PyTorch 2.13.0, graph timer, hot cache, 2026-01-02" in html


def test_names_can_hold_what_markdown_reserves() -> None:
    record = speed_record()
    record["candidate"]["name"] = "a|b <c> `d` __e__"
    html = MarkdownIt().enable("table").render(table([record]))
    assert "<td>a|b &lt;c&gt; `d` __e__</td>" in html


def test_block_is_replaced_and_nothing_else() -> None:
    text = update_block(README, "h200", "| new |\n")
    assert text == README.replace("\nold\n", "\n| new |\n")
    assert update_block(text, "h200", "| new |") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no block of the name 'x'"),
        ("<!-- kgate:x --> <!-- /kgate -->" * 2, "2 blocks"),
        ("<!-- kgate:x -->", "is not closed"),
        ("<!-- kgate:x --> <!-- kgate:y --> <!-- /kgate -->", "is not closed"),
    ],
)
def test_text_without_the_one_block_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        update_block(text, "x", "| new |")


def test_no_records_say_so() -> None:
    assert table([]) == "No records.\n"
