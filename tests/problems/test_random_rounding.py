"""Random rounding: what a type holds exactly stays, all else is rounded up or down by chance."""

from __future__ import annotations

import torch

from pytest_kgate.problems.rounding.random_rounding import RandomRounding


def rounding(seed=5):
    return RandomRounding(23, 23, seed)


def test_what_float32_holds_is_not_rounded_and_all_else_by_less_than_a_spacing():
    exact = torch.tensor([1.0, 1.5, -3.0, 2.0**-20, 0.0, float("inf"), float("-inf")], dtype=torch.float64)
    third = torch.full((100_000,), 1 / 3, dtype=torch.float64)
    with rounding():
        assert torch.equal(exact * 1, exact)
        places = torch.arange(100, dtype=torch.float64)
        assert int((places[:, None] >= places).sum()) == 5050
        rounded = third * 1
        kept = third.clone()
        kept += 0
    for one in (rounded, kept):
        off = (one - third) * 2**25  # spacings of float32 between 1/4 and 1/2
        assert float(off.abs().max()) < 1
        assert len(off.unique()) == 2
        assert abs(float(off.mean())) < 0.01


def test_one_seed_rounds_alike_and_another_one_otherwise():
    values = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for seed in (5, 5, 6):
        with rounding(seed):
            found.append((values * 3).sum(0) + values)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_views_stay_views_and_modules_keep_their_buffers():
    values = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    norm = torch.nn.BatchNorm1d(3).double()
    with rounding():
        made = values * 1
        made[1] = 0
        made[2].add_(1)
        norm(made)
    assert made[1].tolist() == [0, 0, 0]
    assert bool((made[2] > 1).all())


def test_complex_numbers_integers_and_narrow_ones_are_taken():
    with rounding():
        turned = torch.polar(torch.ones(8, dtype=torch.float64), torch.arange(8, dtype=torch.float64)) * 1j
        assert torch.equal(torch.view_as_real(turned), torch.view_as_real(turned).float().double())
        assert (torch.arange(3) + 2**40).tolist() == [2**40, 2**40 + 1, 2**40 + 2]
        assert torch.equal(torch.full((3,), 1 / 3) * 3, torch.ones(3))
        assert torch.split(torch.arange(4.0), 2)[1].tolist() == [2, 3]
