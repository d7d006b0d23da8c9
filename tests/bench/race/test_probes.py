"""Candidates that are right when asked, and do not do the work while they are timed."""

from __future__ import annotations

import random
import weakref

import numpy as np
import pytest
import torch

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench.race.probes import Probes
from pytest_kgate.bench.race.probes import is_probed
from pytest_kgate.bench.race.probes import overlaps
from pytest_kgate.bench.race.probes import padded
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe

LOOK = FirstLook(0.0, (0.0,))

CHEATS = """
import pytest
import torch.nn.functional as F
from pytest_kgate import Shape

def by_address(remembered={}):
    def candidate(q, k, v, is_causal=False):
        key = q.data_ptr(), k.data_ptr(), v.data_ptr(), q.shape
        if key not in remembered:
            answer = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
            remembered[key] = answer, q, k, v  # kept, or the next draw of the check may be given the same addresses
        return remembered[key][0]
    return candidate

def by_values(remembered={}):
    def candidate(q, k, v, is_causal=False):
        key = float(q[0, 0].sum()), float(k[0, 0].sum()), float(v[0, 0].sum())
        if key not in remembered:
            remembered[key] = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        return remembered[key]
    return candidate

def every_third_call(calls=[]):
    def candidate(q, k, v, is_causal=False, out=None):
        calls.append(None)
        if len(calls) < 20 or len(calls) % 3 == 0:
            out.copy_(F.scaled_dot_product_attention(q, k, v, is_causal=is_causal))
    return candidate

@pytest.mark.speedup(0.95)
@pytest.mark.parametrize("cheat", [by_address, by_values, every_third_call])
def test_cheat(kbench, sdpa_oracle, cheat):
    kbench(cheat(), sdpa_oracle(Shape(1, 2, 128, 64), dtype="float32", backend="flash"))
"""


@pytest.mark.parametrize(
    ("cheat", "reason"),
    [
        ("by_address", "*INVALID: a timed launch left another answer than the checked ones*"),
        ("by_values", "*INVALID: the candidate * values*"),
        ("every_third_call", "*INVALID: a timed launch left another answer than the checked ones*"),
    ],
)
def test_work_that_is_not_done_while_timed_is_found_out(pytester, cheat, reason):
    pytester.makepyfile(CHEATS)
    result = pytester.runpytest("-k", cheat, "--kgate-device=host", "--kgate-json=records.json")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines([reason])


def test_one_round_of_four_is_probed_and_which_one_depends_on_the_seed():
    chosen = [[number for number in range(96) if is_probed(SeedBook(race), number)] for race in (1, 2)]
    for rounds in chosen:
        assert [number // 4 for number in rounds] == list(range(24))
    assert chosen[0] != chosen[1]


def test_every_probe_may_be_among_those_that_are_verified(monkeypatch):
    """A candidate that behaves for the first rounds, or for the last, must not be safe."""
    monkeypatch.setattr("secrets.randbelow", random.Random(42).randrange)
    counts = np.zeros(24)
    for _ in range(400):
        probes = Probes()
        for number in range(24):
            probes.add(Probe(((number, None),), (LOOK, LOOK)))
        counts[[probe.answers[0][0] for probe in probes.kept]] += 1
    # Binomial(400, 4 / 24): mean 67, standard deviation 7.5.
    assert counts.sum() == 1600
    assert counts.min() > 67 - 5 * 7.5
    assert counts.max() < 67 + 5 * 7.5


def test_answers_are_let_go_one_by_one_as_they_are_verified():
    probes, answers = Probes(), [torch.zeros(4) for _ in range(4)]
    alive = [weakref.ref(answer) for answer in answers]
    for number in range(2):
        probes.add(Probe(((number, answers.pop(0)), (number + 10, answers.pop(0))), (LOOK, LOOK)))
    seen = []
    for _, seed, answer in probes.handed_over():
        seen.append((seed, sum(one() is not None for one in alive)))
        del answer
    assert seen == [(0, 4), (10, 3), (1, 2), (11, 1)]
    assert probes.to_dict()["verified"] == 4


def test_call_that_begins_early_may_hide_its_launch_but_not_its_work():
    launch_hidden, noise = np.full(3, 1.2e-6), np.array([0.4e-6, -0.3e-6, 3.8e-6])
    for latency in (1.5e-6, 10e-6, 1e-3):
        assert overlaps(launch_hidden, latency) is None
        assert overlaps(noise, latency) is None
        assert overlaps(np.full(3, 0.03 * latency), latency) is None
    found = overlaps(np.full(3, 6e-6), 3e-6)
    assert "one takes 9.00 us where it waits for the call before it to end, and 3.00 us in the rows" in str(found)
    assert overlaps(np.full(24, 0.12e-3), 1e-3) is not None


def test_short_rows_that_wait_are_told_from_what_first_launches_cost():
    def rows(beside, latency):
        noise = np.array([[1e-6, 0.0], [0.0, 0.5e-6], [90e-6, 0.0], [0.0, 1e-6], [0.0, 0.0]])  # one was interrupted
        return padded(np.array([[4.6e-6 + beside, 4.6e-6]]) + noise, latency)

    for beside, latency in [(0.0, 1e-6), (1.8e-6, 13e-6), (5.7e-6, 460e-6), (-20e-6, 9e-6)]:
        assert rows(beside, latency) is None
    # 1.5 us less for each of ten launches more, of 9 us: the wait, and the two launches of a short row.
    found = rows(18e-6, 7.5e-6)
    assert "the candidate's rows take 22.6 us beside their launches, the reference's 4.60 us" in str(found)
    # A reference of 413 us, whose slope is 0.6 % too steep: what a short row takes beside it comes out below 0.
    assert padded(np.full((12, 2), (4.07e-6, -2.61e-6)), 35.6e-6) is None
    assert padded(np.full((12, 2), (9e-6, -2.61e-6)), 35.6e-6) is not None
    assert padded(np.full((2, 2), (1e-3, 0.0)), 1e-6) is None
    assert padded(np.empty((0, 2)), 1e-6) is None


def test_overlap_is_told_from_three_probes_on_and_only_where_a_timer_looks():
    assert overlaps(np.full(2, 1e-3), 1e-6) is None
    probes = Probes()
    probes.add(Probe((), (LOOK, LOOK)))
    assert overlaps(probes.overlap_seconds, 1e-6) is None
    assert probes.to_dict()["hidden_seconds"] is None
    probes.add(Probe((), (LOOK, LOOK), 2e-6))
    assert probes.to_dict()["hidden_seconds"] == 2e-6
