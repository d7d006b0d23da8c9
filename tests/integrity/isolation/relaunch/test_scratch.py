"""Memory that a candidate allocates at addresses of ours: what is free of it, and what is not."""

from __future__ import annotations

import random

from pytest_kgate.integrity.isolation.captured.scratch import Holes

START, SIZE = 0x6000_0000_0000, 2**28


def test_pieces_never_overlap_and_all_is_free_in_the_end():
    dice, holes = random.Random(1), Holes(START, SIZE)
    taken: list[tuple[int, int]] = []
    for _ in range(2000):
        if taken and dice.random() < 0.5:
            holes.give_back(*taken.pop(dice.randrange(len(taken))))
            continue
        size = dice.choice((1, 512, 513, 2**21, 20 * 2**20))
        start = holes.take(size)
        if start is None:
            continue
        assert START <= start <= START + SIZE - size
        assert start % 512 == 0
        assert all(start + size <= other or other + length <= start for other, length in taken)
        taken.append((start, size))
    for piece in taken:
        holes.give_back(*piece)
    assert holes.take(SIZE) == START


def test_what_is_too_large_is_not_given():
    holes = Holes(START, SIZE)
    assert holes.take(SIZE + 1) is None
    assert holes.take(SIZE) == START
    assert holes.take(1) is None
