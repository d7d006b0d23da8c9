"""Which inputs a check draws: their kinds, and their seeds. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import DrawKind

DRAWS: tuple[DrawKind, ...] = ("normal", "hard", "normal", "hard", "normal")
"""Five draws. Normal inputs are what users run; hard ones are those on which a wrong kernel shows."""


def draws_of(seed: int) -> Iterator[tuple[DrawKind, int]]:
    """The kind and the seed of each of a check's draws; `seed` is the root of the call's book of seeds."""
    book = SeedBook(seed)
    return ((kind, book.seed(Stream.CHECK_VALUES, number)) for number, kind in enumerate(DRAWS))


def seed_beside(seed: int) -> int:
    """The seed of one more draw beside these, on which no candidate is called."""
    return SeedBook(seed).seed(Stream.CHECK_VALUES, len(DRAWS))
