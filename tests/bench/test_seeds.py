"""The book of random streams: none tells another, and a call repeats by its seed but for the lots."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench import seeds
from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.race.probes import is_probed
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream

RACE = """
import pytest
from pytest_kgate import Shape

@pytest.mark.speedup(30.0)
def test_it(kbench, sdpa_oracle):
    problem = sdpa_oracle(Shape(1, 2, 32, 16), dtype="float32", backend="math")
    kbench(problem.reference["math"], problem)
"""


def all_seeds(book):
    """What a race of 96 rounds looks up, its check and side checks too: (stream, indices) -> seed."""
    found = {(Stream.CHECK_VALUES, index): seed for index, (_, seed) in enumerate(draws_of(book.root))}
    for number in range(96):
        one = book.round(number, probed=is_probed(book, number))
        found |= {(name, number): getattr(one, name) for name in ("values", "layout")}
        found |= {(Stream.PROBE_VALUES, number, row): seed for row, seed in enumerate(one.probes)}
        found[Stream.OBSERVED_VALUES, number] = book.seed(Stream.OBSERVED_VALUES, number)
        found[Stream.ISOLATED_VALUES, number] = book.seed(Stream.ISOLATED_VALUES, number, number)
    return found


def test_no_two_draws_of_a_gate_share_a_seed_and_neither_do_its_second_race_and_its_processes():
    book = SeedBook(42)
    books = [book, book.page(Stream.SECOND_RACE), *(book.page(Stream.PROCESS, number) for number in range(1, 6))]
    drawn = [seed for one in books for seed in all_seeds(one).values()]
    assert len(drawn) > 1000
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**53 for seed in drawn)  # exact in any JSON


def test_streams_and_indices_are_told_apart_however_they_are_put_together():
    book = SeedBook(7)
    keys = [
        (stream, *indices)
        for stream in Stream
        for indices in [(), (1,), (11,), (1, 1), (11, 1), (1, 11), (1, 1, 1), (0,), (0, 0)]
    ]
    assert len({book.seed(*key) for key in keys}) == len(keys)
    assert len({stream.value for stream in Stream}) == len(Stream)


@pytest.mark.parametrize("stream", list(Stream), ids=lambda stream: stream.name)
def test_seeds_of_neighbours_are_unlike_each_other_in_half_of_their_bits(stream):
    book = SeedBook(42)
    seeds_of_stream = [book.seed(stream, number) for number in range(200)]
    distances = [(one ^ other).bit_count() for one, other in itertools.pairwise(seeds_of_stream)]
    assert 24 < np.mean(distances) < 29  # of 53 bits, 26.5 in the mean


def test_draws_of_a_check_are_no_state_of_numpys_seed_sequence():
    """Four words of such a state could be run backwards to the session's seed."""
    for root in (42, seeds.drawn()):
        drawn = {seed for _, seed in draws_of(root)}
        for entropy in ([root, 1], [root], [root, 0]):
            state = np.random.SeedSequence(entropy).generate_state(8, np.uint32)
            assert drawn.isdisjoint(state.tolist())
        assert max(drawn) >= 2**32


def test_secret_is_of_128_bits_and_its_text_repeats_it():
    from pytest_kgate.evaluation.options import parse

    one, other = seeds.drawn(), seeds.drawn()
    assert one != other
    assert one.bit_length() == 128
    assert parse.seed(seeds.text(one)) == one
    assert parse.seed(str(seeds.text(42))) == 42


def drawn_by(pytester, *arguments):
    assert pytester.runpytest("--kgate-device=host", "--kgate-json=r.json", *arguments).ret == 0
    (record,) = json.loads((pytester.path / "r.json").read_text())["records"]
    return record


@pytest.mark.secret_seed
def test_call_repeats_by_the_seed_in_its_record(pytester, monkeypatch):
    monkeypatch.delenv("KGATE_SEED", raising=False)
    pytester.makepyfile(test_it=RACE)
    first = drawn_by(pytester)
    again = drawn_by(pytester, f"--kgate-seed={first['seeds']['session']}")
    other = drawn_by(pytester)
    assert first["seeds"] == again["seeds"]
    assert first["seeds"] != other["seeds"]
    assert first["seeds"]["book"] == seeds.VERSION

    def errors(record):
        return [(draw["seed"], draw["reference_error"]) for draw in record["correctness"]["draws"]]

    assert errors(first) == errors(again)
    assert errors(first) != errors(other)
    assert first["timing"]["probes"]["lots"]  # which of the probed rounds were verified can be read, not foretold
