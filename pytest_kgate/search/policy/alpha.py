"""What a search may claim: each confirmation pays half of what is left of the chance to be wrong. Pure.

A search that confirms until something passes would claim luck sooner or later. So all confirmations of one search share
one allowance, 2.5 %: the k-th may pass falsely with a chance of 2.5 % / 2^k, that is 1.25 %, 0.625 %, and so on.

Whatever the search did before, however it chose its finalists and however many confirmations it takes, the chance that
any of them passes falsely is at most their sum (Boole's inequality), and
sum over k = 1..n of 2.5 % / 2^k = 2.5 % * (1 - 2^-n) < 2.5 %.
The inequality needs no independence, but each confirmation must hold its own rate whatever was seen before: hence
fresh processes and fresh seeds, no sample of which chose the finalist. A confirmation that was begun has paid,
whether it ended or not.

A candidate that must pass on several shapes needs no further correction: all of them must pass, and the chance that
all do where one should not is at most that of this one (an intersection-union test; Berger, Technometrics 24, 1982).
"""

from __future__ import annotations

from pytest_kgate.errors import UsageError

ALLOWANCE = 0.025
"""One-sided chance that a search, with all its confirmations, claims a kernel that is not below the bound."""

MOST_CONFIRMATIONS = 20
"""Of one search. By then one pays 2 in 10^8, and what is left could not pass a kernel twice as fast."""


def price(attempt: int) -> float:
    """The one-sided error rate of the `attempt`-th confirmation of a search, from 1.

    Raises UsageError where the search has confirmed too often.
    """
    if attempt < 1:
        raise ValueError(f"confirmations are counted from 1, not {attempt}")
    if attempt > MOST_CONFIRMATIONS:
        raise UsageError(
            f"This search has made {MOST_CONFIRMATIONS} confirmations, and nothing is left of its chance to be wrong.",
            "Start a new search in another file; what it claims is judged by itself.",
        )
    return ALLOWANCE / 2.0**attempt
