"""A fingerprint of inputs shows every change of them, and takes no copy."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.problems.trees import fingerprint as module
from pytest_kgate.problems.trees.fingerprint import Fingerprint


def inputs():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(1000, 7, generator=generator),
        {"a": torch.arange(13, dtype=torch.uint8), "b": [torch.randn(9, generator=generator).half()[1:], 3, None]},
        torch.randn(5, 4, generator=generator).t(),
        torch.empty(0),
        torch.tensor([float("nan"), -0.0]),
    )


def test_inputs_that_stay_have_their_fingerprint():
    values = inputs()
    assert Fingerprint(values).first_changed(values) is None


@pytest.mark.parametrize("block", [4, 64, 2**20])
def test_any_changed_byte_shows(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK_WORDS", block)
    for position, pick in enumerate([lambda x: x[0], lambda x: x[1]["a"], lambda x: x[1]["b"][0], lambda x: x[2]]):
        values = inputs()
        taken = Fingerprint(values)
        tensor = pick(values)
        flat = tensor.as_strided((tensor.numel(),), (1,))
        flat[-1] = -flat[-1]  # a single bit, of a floating number
        assert taken.first_changed(values) == (1 if position in (1, 2) else {0: 0, 3: 2}[position])


def test_a_function_that_an_input_has_in_place_of_its_classs_shows():
    values = inputs()
    taken = Fingerprint(values)
    values[1]["a"].of_no_such_name = 1
    assert taken.first_changed(values) is None
    values[1]["a"].double = lambda: torch.zeros(13)
    assert taken.first_changed(values) == 1
    assert Fingerprint(values).first_changed(values) is None


def test_a_sign_of_zero_and_an_exchange_of_two_values_show():
    values = inputs()
    taken = Fingerprint(values)
    values[4][1] = 0.0
    assert taken.first_changed(values) == 4
    values = inputs()
    taken = Fingerprint(values)
    values[0][0] = values[0].flip(0)[-1].flip(0)
    assert taken.first_changed(values) == 0


def test_it_is_secret_which_sums_are_taken():
    values = (torch.ones(4),)
    assert not torch.equal(Fingerprint(values)._sums[0][0], Fingerprint(values)._sums[0][0])


def test_of_large_inputs_a_part_is_looked_at_which_no_one_knows_and_which_stays(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_WORDS", 64)
    found, looked_at = 0, []
    original = torch.Tensor.to

    def to(self, *arguments, **others):
        looked_at.append(self.numel())
        return original(self, *arguments, **others)

    values = (torch.arange(64 * 100, dtype=torch.int32),)
    for _ in range(200):  # none finds it in 1 of 1e9 runs
        values[0][:64] = 0
        taken = Fingerprint(values, most_bytes=4 * 64 * 10)
        assert taken.first_changed(values) is None
        values[0][:64] = 1
        found += taken.first_changed(values) == 0
    assert 0 < found < 200
    monkeypatch.setattr(torch.Tensor, "to", to)
    taken.first_changed(values)
    assert sum(looked_at) == 64 * 10
    values[0][:] = 2
    assert taken.first_changed(values) == 0
