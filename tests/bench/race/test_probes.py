"""Candidates that are right when asked, and do not do the work while they are timed."""

from __future__ import annotations

import random

import numpy as np
import pytest

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench.race.probes import Probes
from pytest_kgate.bench.race.probes import is_probed
from pytest_kgate.bench.race.probes import memoizes
from pytest_kgate.bench.race.probes import needs_more_probes
from pytest_kgate.bench.race.probes import overlaps
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.device.protocol import Probe

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
            probes.add(Probe(((number, None),), (0.0, 0.0)))
        counts[[probe.answers[0][0] for probe in probes.kept]] += 1
    # Binomial(400, 4 / 24): mean 67, standard deviation 7.5.
    assert counts.sum() == 1600
    assert counts.min() > 67 - 5 * 7.5
    assert counts.max() < 67 + 5 * 7.5


def test_a_disturbance_now_and_then_is_no_memory_and_neither_is_what_the_reference_has_too():
    latency = np.full((12, 10), 10e-6)
    interrupts = np.array([[0.1e-6, 0.0]] * 2 + [[300e-6, 0.0]])
    assert memoizes(interrupts, latency) is None
    cold_caches = np.full((6, 2), 40e-6)
    assert memoizes(cold_caches, latency) is None
    memory = np.array([[30e-6, 0.1e-6]] * 6)
    assert "29.9 us longer on values that it has not seen, and 10.0 us" in str(memoizes(memory, latency))


def test_memory_that_a_disturbance_hides_is_doubted_and_told_by_more_probes():
    """Met on a busy host: in one of three probes the launches on old values were the slow ones."""
    latency = np.full((12, 10), 10e-6)
    hidden = np.array([[250e-6, 0.0], [-900e-6, 0.0], [300e-6, 0.0]])
    assert memoizes(hidden, latency) is None
    assert needs_more_probes(hidden, latency)
    more = np.vstack([hidden, [[280e-6, 0.0], [270e-6, 0.0], [-400e-6, 0.0]]])
    assert memoizes(more, latency) is not None
    assert not needs_more_probes(more, latency)


def test_interrupts_are_no_reason_for_doubt_for_ever():
    latency = np.full((24, 10), 10e-6)
    assert not needs_more_probes(np.zeros((3, 2)), latency)
    assert not needs_more_probes(np.empty((0, 2)), latency)
    interrupts = np.array([[-0.5e-6, 0.0]] * 4 + [[300e-6, 0.0]] * 2)
    assert not needs_more_probes(interrupts, latency)
    assert memoizes(interrupts, latency) is None


def test_samples_that_differ_by_more_than_new_values_cost_are_no_memory():
    """Met on a host whose cores were all busy: median 357 us, a tenth above 2.3 ms, new values 597 us more."""
    busy = np.full((12, 5), 357e-6)
    busy[:, 0] = 2.28e-3
    probes = np.array([[597e-6, -1.6e-3]] * 3)
    assert memoizes(probes, busy) is None
    assert memoizes(probes, np.full((12, 5), 357e-6)) is not None


def test_call_that_begins_early_may_hide_its_launch_but_not_its_work():
    launch_hidden, noise = np.full(3, 1.2e-6), np.array([0.4e-6, -0.3e-6, 3.8e-6])
    for latency in (1.5e-6, 10e-6, 1e-3):
        assert overlaps(launch_hidden, latency) is None
        assert overlaps(noise, latency) is None
        assert overlaps(np.full(3, 0.03 * latency), latency) is None
    found = overlaps(np.full(3, 6e-6), 3e-6)
    assert "one takes 9.00 us where it waits for the call before it to end, and 3.00 us in the rows" in str(found)
    assert overlaps(np.full(24, 0.12e-3), 1e-3) is not None


def test_overlap_is_told_from_three_probes_on_and_only_where_a_timer_looks():
    assert overlaps(np.full(2, 1e-3), 1e-6) is None
    probes = Probes()
    probes.add(Probe((), (0.0, 0.0)))
    assert overlaps(probes.overlap_seconds, 1e-6) is None
    assert probes.to_dict()["hidden_seconds"] is None
    probes.add(Probe((), (0.0, 0.0), 2e-6))
    assert probes.to_dict()["hidden_seconds"] == 2e-6
