"""`kgate metrics`, and the table in docs/profiling.md that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate import cli
from pytest_kgate.profile.nsight.metrics.command import listing
from pytest_kgate.profile.nsight.metrics.command import page_table
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.report.page.markdown import update_block

PAGE = Path(__file__).parents[3] / "docs" / "profiling.md"


def test_the_page_has_the_table_that_this_makes() -> None:
    """To make it anew: `kgate metrics --into docs/profiling.md --block metrics`."""
    content = PAGE.read_text(encoding="utf-8")
    assert update_block(content, "metrics", page_table()) == content


@pytest.mark.parametrize("columns", [80, 120])
def test_all_metrics_are_listed_with_what_they_mean(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = "\n".join(listing())
    assert max(map(len, lines.splitlines())) <= columns
    words = " ".join(lines.split())
    assert all(f"  {row.name} " in lines and row.meaning in words for row in METRICS.values())


def test_for_a_gpu_only_what_it_has_is_listed_with_its_raw_names() -> None:
    assert any("stall_gmma" in line for line in listing("sm_90"))
    lines = list(listing("sm_120"))
    assert not any("stall_gmma" in line for line in lines)
    assert any("dram__bytes_op_write.sum" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dram_write", "sm_120: dram__bytes_op_write.sum"),
        ("sectors_per_load", "several launches: load_sectors / load_requests"),
        ("tensor", '@pytest.mark.metrics(tensor=">= 60 %")'),
        ("dram__bytes_op_read.sum", "dram_read (bytes)"),
        ("sm__made_up.sum", "It has no short name"),
    ],
)
def test_one_metric_is_told_in_full(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics", name]) == 0
    assert said in capsys.readouterr().out


def test_an_unknown_name_is_an_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics", "tensors"]) == 2
    assert "Did you mean 'tensor'?" in capsys.readouterr().err
