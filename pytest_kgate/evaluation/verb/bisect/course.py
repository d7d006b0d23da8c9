"""Which commit is asked next, and what the answers come to. Pure."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Literal
from typing import TypeAlias
from typing import TypeVar

Answer: TypeAlias = Literal["slow", "fast", "unknown"]
"""Of a commit: as slow as the last one, faster than that, or it could not be told."""

T = TypeVar("T")


def suspects(chain: Sequence[T], ask: Callable[[T], Answer | None]) -> list[T]:
    """Which of a chain may be the first slow one: one, or several where those between them could not be told.

    What stands before the chain is fast, and its last is slow. `ask` answers None where the search is to end at once.
    What can't be told is left out, and its neighbours are asked in its place, as `git bisect skip` does.
    """
    low, high = -1, len(chain) - 1
    untold: set[int] = set()
    while left := [place for place in range(low + 1, high) if place not in untold]:
        middle = (low + high) / 2
        place = min(left, key=lambda one: abs(one - middle))
        answer = ask(chain[place])
        if answer is None:
            break
        if answer == "slow":
            high = place
        elif answer == "fast":
            low = place
        else:
            untold.add(place)
    return list(chain[low + 1 : high + 1])
