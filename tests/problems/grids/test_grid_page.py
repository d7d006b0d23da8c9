"""What docs/grids.md shows is what a reader gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from sample_suite import fake_device

from pytest_kgate import shapes
from pytest_kgate.problems.grids.named import NAMED

PAGE = (Path(__file__).parents[3] / "docs" / "grids.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))
"""The page has one block of each language."""


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
    result.stdout.fnmatch_lines(["*::test_mine[[]2x8x2048x64-causal-float16]", "12 tests collected*"])
    (command,) = re.findall(r"pytest (.*) -n 2", BLOCKS["sh"])
    result = pytester.runpytest_inprocess("--co", "-q", *command.split())
    result.stdout.fnmatch_lines(["*::test_mine[[]8x8x1x64-kvheads2-kv8192-bfloat16]", "12 tests collected*"])


KERNEL = """
@pytest.fixture
def kernels():
    return lambda name: torch.nn.functional.scaled_dot_product_attention
"""


def test_the_example_is_raced_over_a_grid_and_has_a_row_for_each_shape(pytester, one_thread):
    pytester.makeconftest(f"import torch\n{fake_device(0.8)}{KERNEL}")
    pytester.makepyfile(test_page=BLOCKS["python"])
    pytester.makefile(".toml", small="[[shapes]]\nbatch = 1\nheads = 2\nseqlen = [17, 33]\nhead_dim = 16\n")
    result = pytester.runpytest_inprocess("-mperf", "-kfloat16 and not bfloat16", "--kgate-shapes=small.toml")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "gate *latency*ratio, 95 % interval*verdict*",
            "test_mine",
            " 1x2x17x16-float16 *0.95*PASS*",
            " 1x2x33x16-float16 *0.95*PASS*",
            "2 PASS",
        ]
    )
