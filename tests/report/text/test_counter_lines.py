"""The lines of counters below a session's summary."""

from __future__ import annotations

from pytest_kgate.report.text.profiled.counters import counter_lines


def arm(**values):
    return {"launches": [], "launch_count": 1, "metrics": {name: {"value": value} for name, value in values.items()}}


def record(test, candidate, reference, finding="tensor-bound", reason=""):
    return {
        "test": test,
        "call": 0,
        "counters": {"candidate": candidate, "reference": reference, "reason": reason},
        "insights": [{"name": finding}] if finding else [],
    }


def test_each_call_has_a_line_with_both_arms():
    records = [
        record("test_it.py::test_latency", arm(tensor=58.75, sm=60.0, dram=5.0, warps=12.0), arm(tensor=64.7, sm=70.0)),
        record("test_it.py::test_uncounted", None, None),
        record("test_it.py::test_alone", arm(tensor=0.0), None, ""),
    ]
    head, first, alone, legend = counter_lines(records, 100)
    assert head.split() == ["counters,", "%", "tensor", "SM", "DRAM", "warps", "finding"]
    assert " ".join(first.split()) == "test_latency 58.8 / 64.7 60.0 / 70.0 5.0 / - 12.0 / - tensor-bound"
    assert " ".join(alone.split()) == "test_alone 0.0 / - - / - - / - - / -"
    assert "candidate / reference" in legend


def test_long_names_keep_their_end():
    lines = counter_lines([record(f"test_it.py::test_{'x' * 90}[2x8x2048x128]", arm(tensor=1.0), None)], 100)
    assert lines[1].startswith("..")
    assert "[2x8x2048x128]" in lines[1]
    assert max(map(len, lines[:2])) <= 100


def test_why_nothing_was_counted_is_told_in_a_line():
    none = [record(test, None, None, reason="the host has no counters that ncu reads") for test in ("a", "b")]
    assert counter_lines(none, 100) == ["no counters: the host has no counters that ncu reads (in 2 tests)"]
    assert max(map(len, counter_lines(none, 60))) <= 60
    assert counter_lines([], 100) == []
