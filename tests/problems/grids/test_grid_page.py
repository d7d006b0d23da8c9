"""What docs/grids.md shows is what a reader gets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from sample_suite import fake_device

from pytest_kgate import shapes
from pytest_kgate.problems.grids.named import NAMED
from pytest_kgate.report.text.summary import summary_table

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "grids.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
"""The page has one block of each language, and a table without any."""


def test_both_files_hold_the_same_shapes(tmp_path):
    (tmp_path / "grid.toml").write_text(BLOCKS["toml"])
    (tmp_path / "grid.yaml").write_text(BLOCKS["yaml"])
    found = shapes.load(tmp_path / "grid.toml")
    assert [str(shape) for shape in found] == [
        *("1x8x512x64", "2x8x1024x64", "2x8x1024x64-causal", "2x8x2048x64", "2x8x2048x64-causal"),
        "8x8x1x64-kvheads2-kv8192",
    ]
    pytest.importorskip("yaml", reason="PyYAML is not installed; the extra `test` brings it")
    assert shapes.load(tmp_path / "grid.yaml") == found


def test_the_table_counts_the_shapes_of_every_grid():
    counted = re.findall(r"`shapes\.(\w+)\(\)` \| (\d+)", PAGE)
    assert counted == [(name, str(len(grid()))) for name, grid in NAMED.items()]
    listed = PAGE.partition("without a mask: ")[2].partition(" |")[0]
    assert listed.split(", ") == [str(shape) for shape in shapes.canonical()]


def test_the_example_is_collected_with_the_ids_that_the_page_names(pytester):
    pytester.makepyfile(test_page=BLOCKS["python"])
    pytester.makefile(".toml", grid=BLOCKS["toml"])
    result = pytester.runpytest_inprocess("--co", "-q")
    result.stdout.fnmatch_lines(["*::test_mma[[]2x8x2048x64-causal-float16]", "12 tests collected*"])
    (command,) = re.findall(r"pytest (.*) -n 2", BLOCKS["sh"])
    result = pytester.runpytest_inprocess("--co", "-q", *command.split())
    result.stdout.fnmatch_lines(["*::test_mma[[]8x8x1x64-kvheads2-kv8192-bfloat16]", "12 tests collected*"])


def test_the_table_is_that_of_the_record():
    records = json.loads((ROOT / "benchmarks" / "h200" / "perf-2026-11-21.json").read_text())["records"]
    raced = [record for record in records if "test_mma_beats_flash_attention" in record["test"]]
    assert f"{summary_table(raced, 80)}\n" == BLOCKS[""]


KERNEL = """
@pytest.fixture
def kernels():
    return lambda name: torch.nn.functional.scaled_dot_product_attention
"""
"""Which any device can run."""


def test_the_example_is_raced_over_a_grid_and_has_a_row_for_each_shape(pytester, one_thread):
    pytester.makeconftest(f"import torch\n{fake_device(0.8)}{KERNEL}")
    pytester.makepyfile(test_page=BLOCKS["python"])
    pytester.makefile(".toml", small="[[shapes]]\nbatch = 1\nheads = 2\nseqlen = [17, 33]\nhead_dim = 16\n")
    result = pytester.runpytest_inprocess("-mperf", "-kfloat16 and not bfloat16", "--kgate-shapes=small.toml")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "gate *latency*ratio, 95 % interval*verdict*",
            "test_mma",
            " 1x2x17x16-float16 *0.95*PASS*",
            " 1x2x33x16-float16 *0.95*PASS*",
            "2 PASS",
        ]
    )


@pytest.mark.gpu
def test_the_example_runs_on_a_gpu(pytester):
    pytester.makepyfile(test_page=BLOCKS["python"])
    result = pytester.runpytest_subprocess("-mperf", "-pno:cacheprovider")
    found = result.parseoutcomes()
    assert found.get("passed", 0) + found.get("failed", 0) == 12  # some ratios may be above the bound
    assert not re.search(r"WRONG|ERROR|INVALID|WEAK", result.stdout.str())
