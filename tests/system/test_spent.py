"""Seconds by purpose add up to the whole, each counted once."""

from __future__ import annotations

from pytest_kgate.system.clocks import spent as module
from pytest_kgate.system.clocks.spent import add_spent
from pytest_kgate.system.clocks.spent import ledger
from pytest_kgate.system.clocks.spent import spent


def test_each_second_counts_for_the_innermost_purpose(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 5.0, 7.0, 10.0, 13.0, 20.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    with ledger() as found:  # 0 to 20
        with spent("check"), spent("draw"):  # 1 to 7, and 2 to 5
            pass
        with spent("race"):  # 10 to 13
            add_spent("timed", 2.0)
    assert found.seconds == {"draw": 3.0, "check": 3.0, "timed": 2.0, "race": 1.0, "other": 11.0}
    assert sum(found.seconds.values()) == 20.0


def test_without_a_ledger_nothing_is_counted():
    with spent("draw"):
        add_spent("timed", 1.0)
