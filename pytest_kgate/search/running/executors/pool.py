"""What carries out the orders of a search: here, or wherever an executor has its workers."""

from __future__ import annotations

from typing import Protocol

from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order


class Pool(Protocol):
    """Carries out orders; as many threads as it has `jobs` may call it at once."""

    @property
    def jobs(self) -> int:
        """How many orders are carried out at the same time."""
        ...

    def run(self, order: Order) -> Answered:
        """Carry out the order and wait for its answer. There is exactly one, also where a worker is lost."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...
