"""Shapes of attention: equal problems are equal shapes, wrong arguments are named, and test ids tell shapes apart."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pytest_kgate import Shape


def test_an_argument_that_names_the_usual_value_makes_the_same_shape() -> None:
    usual = Shape(2, 8, 64, 80)
    spelt_out = Shape(2, 8, 64, 80, kv_heads=8, kv_seqlen=64, scale=80**-0.5)
    assert spelt_out == usual
    assert hash(spelt_out) == hash(usual)
    assert str(spelt_out) == "2x8x64x80"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kv_heads": 3}, "Shape.kv_heads must divide heads, since each is read by as many: got 3 of 8"),
        ({"kv_heads": 16}, "Shape.kv_heads must divide heads, since each is read by as many: got 16 of 8"),
        ({"kv_heads": 0}, "Shape.kv_heads must be a positive integer, got 0"),
        ({"kv_seqlen": 1.5}, "Shape.kv_seqlen must be a positive integer, got 1.5"),
        ({"window": 0}, "Shape.window must be a positive integer, got 0"),
        ({"window": True}, "Shape.window must be a positive integer, got True"),
        ({"softcap": 0}, "Shape.softcap must be a positive number, got 0"),
        ({"softcap": -30.0}, "Shape.softcap must be a positive number, got -30.0"),
        ({"scale": math.inf}, "Shape.scale must be a positive number, got inf"),
        ({"scale": "0.1"}, "Shape.scale must be a positive number, got '0.1'"),
        ({"bias": "rows"}, "Shape.bias must be one of shared, heads, full, or None, got 'rows'"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=r"^Shape") as raised:
        Shape(1, 8, 64, 64, **arguments)  # type: ignore[arg-type]
    assert str(raised.value) == says


def test_every_extent_shows_in_the_test_id() -> None:
    usual = Shape(1, 8, 64, 64)
    changes: list[dict[str, object]] = [
        *({name: value} for name, value in {"causal": True, "kv_heads": 2, "kv_seqlen": 65, "window": 5}.items()),
        *({"softcap": value} for value in (30, 30.5, 3.05)),
        *({"scale": value} for value in (0.1, 1)),
        *({"bias": value} for value in ("shared", "heads", "full")),
    ]
    shapes = [usual, *(dataclasses.replace(usual, **one) for one in changes)]  # type: ignore[arg-type]
    assert len({str(one) for one in shapes}) == len(shapes)
    many = Shape(1, 32, 1, 128, True, kv_heads=8, kv_seqlen=4096, window=1024, softcap=50, scale=0.1, bias="heads")
    assert str(many) == "1x32x1x128-kvheads8-kv4096-window1024-softcap50-scale0.1-causal-bias_heads"
    assert str(Shape(1, 8, 512, 64, causal=True)) == "1x8x512x64-causal"


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        (Shape(1, 1, 4, 8), [range(4)] * 4),
        (Shape(1, 1, 4, 8, True), [range(1), range(2), range(3), range(4)]),
        (Shape(1, 1, 2, 8, True, kv_seqlen=4), [range(3), range(4)]),
        (Shape(1, 1, 4, 8, True, kv_seqlen=2), [range(0), range(0), range(1), range(2)]),
        (Shape(1, 1, 4, 8, True, window=2), [range(1), range(2), range(1, 3), range(2, 4)]),
        (Shape(1, 1, 4, 8, window=2), [range(2), range(3), range(1, 4), range(2, 4)]),
        (Shape(1, 1, 1, 8, True, kv_seqlen=9, window=3), [range(6, 9)]),
        (Shape(1, 1, 5, 8, kv_seqlen=2, window=2), [range(0), range(0), range(1), range(2), range(2)]),
    ],
    ids=str,
)
def test_rows_stand_at_the_last_keys(shape: Shape, seen: list[range]) -> None:
    assert [list(shape.visible(row)) for row in range(shape.seqlen)] == [list(one) for one in seen]
