"""The chance to claim luck that all confirmations of a search share."""

from __future__ import annotations

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.policy import alpha


def test_whatever_number_of_confirmations_pays_less_than_one_gate_may_err() -> None:
    assert [alpha.price(attempt) for attempt in (1, 2, 3)] == [0.0125, 0.00625, 0.003125]
    assert 0.0249 < sum(map(alpha.price, range(1, alpha.MOST_CONFIRMATIONS + 1))) < alpha.ALLOWANCE == 0.025
    with pytest.raises(UsageError, match="Start a new search"):
        alpha.price(alpha.MOST_CONFIRMATIONS + 1)
