"""The values that an isolated candidate is shown tell nothing of those that it will be shown.

The attack: a generator of PyTorch on the CPU takes 32 bits of its seed, so that the first numbers of a draw tell them
after 2^32 tries. Where four such seeds are the first words of NumPy's SeedSequence, its pool and from it the secret
follow, and with that all later draws. The tries take minutes on 8 cores; here they are taken as done.
"""

from __future__ import annotations

import numpy as np

from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.bench.seeds import drawn

MASK = 0xFFFF_FFFF
INIT_A, MULT_A, INIT_B, MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = 0xCA01F9DD, 0x4973F715
"""Of numpy/random/bit_generator.pyx."""


def inverse(odd):
    return pow(odd, -1, 1 << 32)


def unshifted(word):
    return word ^ (word >> 16)


def entropy_of(words):
    """The four words of entropy of the SeedSequence that generated these four words first."""
    constant, pool = INIT_B, []
    for word in words:
        before, constant = constant, constant * MULT_B & MASK
        pool.append((unshifted(word) * inverse(constant) & MASK) ^ before)
    steps, constant = [], INIT_A
    for _ in range(16):
        before, constant = constant, constant * MULT_A & MASK
        steps.append((before, constant))

    def hashed(word, step):
        word = (word ^ steps[step][0]) * steps[step][1] & MASK
        return word ^ (word >> 16)

    pairs = [(source, target) for source in range(4) for target in range(4) if source != target]
    for at, (source, target) in reversed(list(enumerate(pairs))):
        mixed = unshifted(pool[target]) + MIX_RIGHT * hashed(pool[source], 4 + at)
        pool[target] = mixed * inverse(MIX_LEFT) & MASK
    return [(unshifted(word) * inverse(steps[at][1]) & MASK) ^ steps[at][0] for at, word in enumerate(pool)]


def test_attack_finds_the_secret_of_seeds_from_numpys_seed_sequence():
    secret = 0x1234_5678_9ABC_DEF0
    shown = np.random.SeedSequence([secret, 1]).generate_state(4)
    assert entropy_of([int(word) for word in shown]) == [secret & MASK, secret >> 32, 1, 0]


def test_attack_finds_nothing_in_the_book_of_seeds():
    """Neither the secret nor a value that is drawn later is among what the same steps make of the book's seeds."""
    secret = drawn()
    book = SeedBook(secret)
    shown = [book.seed(Stream.CHECK_VALUES, draw) & MASK for draw in range(4)]
    found = entropy_of(shown)
    words = {secret >> shift & MASK for shift in (0, 32, 64, 96)}
    words |= {book.seed(Stream.ISOLATED_VALUES, 1, call) & MASK for call in range(512)}
    assert not words & set(found)
    guess = found[0] | found[1] << 32
    assert SeedBook(guess).seed(Stream.CHECK_VALUES, 4) != book.seed(Stream.CHECK_VALUES, 4)


def test_lots_do_not_follow_from_the_seed():
    """Which calls of a row are verified is drawn after the calls were made, from the operating system."""
    import random

    from pytest_kgate.integrity.isolation import kept_answers

    assert isinstance(kept_answers._SYSTEM, random.SystemRandom)
