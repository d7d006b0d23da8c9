"""What a `metrics` marker may demand, and what is said of demands that make no sense."""

from __future__ import annotations

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.profile.nsight.bounds import Bound
from pytest_kgate.profile.nsight.bounds import demand_bytes
from pytest_kgate.profile.nsight.bounds import read_bound
from pytest_kgate.profile.nsight.bounds import read_bounds


@pytest.mark.parametrize(
    ("name", "text", "bound", "metric"),
    [
        ("tensor", ">= 60 %", Bound("tensor", ">=", 60.0, "%"), "tensor"),
        ("tensor", ">=60%", Bound("tensor", ">=", 60.0, "%"), "tensor"),
        ("dram", "<= 80 %", Bound("dram", "<=", 80.0, "%"), "dram"),
        ("dram", "<= 1.2x", Bound("dram", "<=", 1.2, "x"), "dram_bytes"),
        ("dram_read", "<= 3 MiB", Bound("dram_read", "<=", 3.0, "MiB", 2.0**20), "dram_read"),
        ("duration", "<= 20 µs", Bound("duration", "<=", 20.0, "µs", 1e-6), "duration"),
        ("registers", "<= 128", Bound("registers", "<=", 128.0, ""), "registers"),
        ("bank_conflicts", "<= 1_000 conflicts", Bound("bank_conflicts", "<=", 1000.0, "conflicts"), "bank_conflicts"),
        ("sm__cycles_active.avg", "<= 9e4", Bound("sm__cycles_active.avg", "<=", 9e4, ""), "sm__cycles_active.avg"),
        ("dram__bytes.sum", "<= 1.2x", Bound("dram__bytes.sum", "<=", 1.2, "x"), "dram__bytes.sum"),
        ("launch__registers_per_thread", "<= 72", Bound("launch__registers_per_thread", "<=", 72.0, ""), None),
    ],
)
def test_a_bound_is_read(name: str, text: str, bound: Bound, metric: str | None) -> None:
    assert read_bound(name, text) == bound
    assert bound.metric == (metric or name)


def test_names_that_python_cannot_spell_stand_in_a_dict() -> None:
    read = read_bounds({"sm__cycles_active.avg": "<= 9e4"}, tensor=">= 60 %")
    assert [str(one) for one in read] == ["sm__cycles_active.avg <= 90,000", "tensor >= 60 %"]


@pytest.mark.parametrize(
    ("name", "text", "what", "todo"),
    [
        ("tensr", ">= 60 %", "no metric 'tensr'. Did you mean 'tensor'?", "`kgate metrics` lists"),
        ("tensor", 60, "tensor=60 does not say whether more or less", "Write '>= 60 %' for at least, '<= 60 %'"),
        ("tensor", "60%", "tensor='60%' does not say whether", "Write '>= 60 %' for at least"),
        ("tensor", "60 % <=", "does not say whether more or less", "Write '>= 60 %' for at least"),
        ("tensor", True, "tensor=True does not say", "Write '>= 60 %' for at least"),
        ("dram_bytes", 5e6, "does not say whether", "Write '>= 5e+06 B' for at least"),
        ("registers", 72, "registers=72 does not say", "'<= 72' for at most"),
        ("tensor", "> 60 %", "there are <= and >=, not '>'", "Write '>= 60 %'"),
        ("local_memory", "== 0 B", "there are <= and >=, not '=='", "Write '<= 0 B'"),
        ("tensor", ">= 0.6", "has no unit; tensor is in %", "Write '>= 60 %', say"),
        ("dram", "<= 3", "dram is in % or in bytes (B, KiB, MiB, GiB) or in x", "say"),
        ("tensor", ">= 60 MiB", "tensor is in %, not MiB", "Write '>= 60 %'"),
        ("tensor", ">= 1.2x", "tensor is in %, not x", "Write '>= 60 %'"),
        ("registers", "<= 2x", "registers is a plain number, not x", "Write '<= 100'"),
        ("sm__cycles_active.avg", "<= 2x", "is a plain number, not x", "Write '<= 100'"),
        ("dram", "<= 3 mib", "there is no unit 'mib'", "Did you mean 'MiB'?"),
        ("l2_hit", ">= 50 parts", "there is no unit 'parts'", "Write '>= 60 %'"),
        ("tensor", ">= 160 %", "no share is above 100 %", "Write '>= 60 %'"),
        ("tensor", ">= -3 %", "a finite number, 0 or more", "Write '>= 60 %'"),
        ("tensor", ">= nan %", "a finite number, 0 or more", "Write '>= 60 %'"),
        ("tensor", "much", "tensor='much' is no bound", "Write '>= 60 %'"),
        (3, ">= 60 %", "3 is no name of a metric", "`kgate metrics`"),
    ],
)
def test_a_bound_without_sense_is_refused(name: object, text: object, what: str, todo: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_bound(name, text)
    assert what in refused.value.what
    assert todo in refused.value.todo


def test_a_marker_that_demands_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="No metric is demanded"):
        read_bounds()
    with pytest.raises(UsageError, match="'tensor' is no demand on a metric"):
        read_bounds("tensor")
    with pytest.raises(UsageError, match="tensor is demanded twice to be >= something"):
        read_bounds({"tensor": ">= 60 %"}, tensor=">= 50 %")
    assert len(read_bounds({"tensor": "<= 90 %", "dram": "<= 20 %"}, tensor=">= 50 %", dram="<= 1.2x")) == 3 + 1


def test_times_the_problems_bytes_needs_a_problem_that_says_how_many() -> None:
    bounds = read_bounds(tensor=">= 60 %", dram="<= 1.2x")
    demand_bytes(bounds, "relu", 4096.0)
    with pytest.raises(UsageError, match=r"'dram <= 1.2x' is in times .* and relu does not say") as refused:
        demand_bytes(bounds, "relu", None)
    assert "Problem(bytes=...)" in refused.value.todo
