"""The book of random streams: every number that a `kbench` call draws is looked up here, under the name of its stream.

A candidate sees the values that are drawn from some of these seeds, and may find the seed by trying all of them: a
generator of PyTorch on the CPU has only 32 bits. So no seed may tell anything of another one. Each is a keyed hash of
its stream's name and its indices, BLAKE2b with a key of 128 bits (RFC 7693), which can't be run backwards. Streams
can't meet, for their names differ, and a second race or another process has a book of its own.

What decides *which* answers are verified is in no book: those lots are drawn from the operating system's generator
once the calls have been made, so that not even the seed tells them. A race's record names those of its probes.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import secrets
from collections.abc import Callable

import numpy as np

from pytest_kgate.device.protocol import RoundSeeds

VERSION = 2
"""Version of these streams, kept in records: a seed repeats a call only with the version that it was drawn for.
Records without a version are of the first."""

_ROOT_BITS = 128

_VALUE_BITS = 53
"""Bits of a seed that is handed out: more than can be tried where the generator takes all of them, and few enough that
any JSON holds the number exactly."""


class Stream(enum.Enum):
    """The random streams, by what their numbers are drawn for; each docstring names the indices of its stream.

    A stream's value is part of the hash: to change it changes the numbers.
    """

    CHECK_VALUES = "check values"
    """(draw,): the inputs of one draw of a check."""
    ROUND_VALUES = "round values"
    """(round,): the inputs of one round of a race."""
    ROUND_LAYOUT = "round layout"
    """(round,): order of making, and moves of addresses, in one round."""
    ROUND_ORDER = "round order"
    """(round,): the order of the samples of both arms in one round."""
    PROBED_ROUND = "probed round"
    """(block of rounds,): which of its rounds is probed."""
    PROBE_VALUES = "probe values"
    """(round, row): the new values of a probed round's rows."""
    SECOND_RACE = "second race"
    """(): the book of the race that takes the place of a disturbed one."""
    PROCESS = "process"
    """(process,): the book of one of several processes, from 1."""
    RESAMPLES = "resamples"
    """(): bootstrap resamples of the rounds."""
    REFERENCE_VALUES = "reference values"
    """(round,): the inputs on which a problem's references are compared with each other."""
    REFERENCE_LAYOUT = "reference layout"
    """(round,): the same for order of making and addresses."""
    PLACEMENT_VALUES = "placement values"
    """(arm, call): the inputs of calls by which the stream is found that an arm works on."""
    OBSERVED_VALUES = "observed values"
    """(call,): the inputs of calls outside of the timed rounds, by which side effects are looked for."""
    COMPARED_VALUES = "compared values"
    """(arm, call): the inputs of calls by which the arms are compared on new values."""
    CLEAN_PROCESS = "clean process"
    """(try,): the book of the rounds that are timed in turn with those of a clean process."""
    ISOLATED_VALUES = "isolated values"
    """(row, call): the inputs of each call of an isolated candidate's rows."""
    ISOLATED_REFERENCE = "isolated reference"
    """(row, call): the inputs of the reference's rows beside those."""


class SeedBook:
    """All random streams that follow from one root: the session's seed or the problem's, of up to 128 bits."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._key = hashlib.blake2b(str(root).encode("ascii"), digest_size=16, person=b"kgate root").digest()

    def seed(self, stream: Stream, *indices: int) -> int:
        """The seed of 53 bits at these indices of a stream, for a generator of PyTorch or NumPy."""
        return self._hash(stream, indices, 8) >> (64 - _VALUE_BITS)

    def generator(self, stream: Stream, *indices: int) -> np.random.Generator:
        """A new NumPy generator for these indices of a stream, seeded with 128 bits."""
        return np.random.default_rng(self._hash(stream, indices, 16))

    def page(self, stream: Stream, *indices: int) -> SeedBook:
        """A new book, for a second race or another process: its seeds can't be computed from those of this one."""
        return SeedBook(self._hash(stream, indices, 16))

    def numbered(self, stream: Stream) -> Callable[..., int]:
        """The function from a stream's indices to its seeds, for packages that do not import this one."""
        return functools.partial(self.seed, stream)

    def round(self, number: int, *, probed: bool) -> RoundSeeds:
        """The seeds of one round of a race; a probed round has those of the new values of its three rows as well."""
        rows = range(3) if probed else ()
        return RoundSeeds(
            values=self.seed(Stream.ROUND_VALUES, number),
            layout=self.seed(Stream.ROUND_LAYOUT, number),
            probes=tuple(self.seed(Stream.PROBE_VALUES, number, row) for row in rows),
        )

    def reference_round(self, number: int) -> RoundSeeds:
        """The seeds of one round in which a problem's references are timed to find the fastest."""
        return RoundSeeds(self.seed(Stream.REFERENCE_VALUES, number), self.seed(Stream.REFERENCE_LAYOUT, number))

    def _hash(self, stream: Stream, indices: tuple[int, ...], size: int) -> int:
        message = ":".join((stream.value, *map(str, indices))).encode("ascii")
        digest = hashlib.blake2b(message, key=self._key, digest_size=size, person=b"kgate seed").digest()
        return int.from_bytes(digest, "big")


def drawn() -> int:
    """A new secret root from the operating system; its top bit is set, so that all have texts of one length."""
    return secrets.randbits(_ROOT_BITS) | 1 << (_ROOT_BITS - 1)


def text(root: int) -> int | str:
    """A root for the record, as `--kgate-seed` takes it: a given number as it was, a secret as 32 hexadecimal digits.

    Many readers of JSON keep no more than 53 bits of a number.
    """
    return root if root < 2**63 else f"{root:032x}"


def root_of(seed: int | str) -> int:
    """The root that `text` has written."""
    return seed if isinstance(seed, int) else int(seed, 16)
