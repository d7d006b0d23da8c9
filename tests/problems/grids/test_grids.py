"""The grids that have names, and which lists of shapes count as one."""

from __future__ import annotations

import subprocess
import sys

from pytest_kgate import Shape
from pytest_kgate import shapes
from pytest_kgate.problems.grids.named import NAMED
from pytest_kgate.problems.grids.named import is_grid


def test_canonical_and_acceptance_are_the_sizes_that_people_agreed_on() -> None:
    assert [str(shape) for shape in shapes.canonical()] == [
        *("1x8x512x64", "4x8x512x64", "2x8x1024x64", "2x8x2048x64", "2x8x2048x128", "4x16x4096x128"),
    ]
    assert [str(shape) for shape in shapes.acceptance()] == [
        *("1x8x512x64", "1x8x512x64-causal", "2x8x2048x64", "2x8x2048x64-causal"),
        *("2x8x2048x128", "2x8x2048x128-causal"),
    ]


def test_all_has_every_combination_of_usual_extents_the_small_ones_first() -> None:
    found = shapes.all()
    assert {shape.batch for shape in found} == {1, 4, 8}
    assert {shape.heads for shape in found} == {8, 16}
    assert {shape.head_dim for shape in found} == {64, 96, 128}
    assert {shape.causal for shape in found} == {False, True}
    assert sorted({shape.seqlen for shape in found}) == [128, 256, 512, 1024, 2048, 4096, 8192]
    assert len(found) == 3 * 2 * 3 * 2 * 7
    assert [shape.seqlen for shape in found] == sorted(shape.seqlen for shape in found)


def test_stress_has_odd_and_extreme_lengths_one_row_one_head_grouped_heads_and_decode_steps() -> None:
    found = shapes.stress()
    assert {17, 8191, 65_536, 1} <= {shape.seqlen for shape in found}
    assert any(shape.heads == shape.batch == 1 for shape in found)
    assert any(shape.kv_heads == 1 for shape in found)
    assert any(shape.seqlen == 1 and shape.keys > 1 and shape.group > 1 for shape in found)


def test_no_grid_has_a_shape_or_an_id_twice() -> None:
    for grid in NAMED.values():
        names = [str(shape) for shape in grid()]
        assert len(set(names)) == len(names)


def test_a_grid_is_known_by_its_shapes_and_a_part_of_it_is_none() -> None:
    assert is_grid(list(shapes.canonical()))
    assert not is_grid(shapes.canonical()[:3])
    assert not is_grid([*shapes.canonical(), Shape(1, 1, 1, 64)])
    assert not is_grid([])


def test_grids_import_no_heavy_library() -> None:
    code = (
        "import sys; from pytest_kgate import shapes; shapes.all(); print({'torch', 'numpy', 'yaml'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
