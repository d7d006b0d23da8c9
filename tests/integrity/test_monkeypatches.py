"""Functions that were replaced are named; what a session does by itself is no tampering."""

from __future__ import annotations

import sys
import time
import types

import pytest
import torch

from pytest_kgate.integrity.tampering.monkeypatches import WATCHED
from pytest_kgate.integrity.tampering.monkeypatches import Originals
from pytest_kgate.integrity.tampering.monkeypatches import watch


@pytest.fixture
def originals():
    found = Originals()
    before = list(sys.meta_path)
    watch(found)
    yield found
    sys.meta_path[:] = before


def test_nothing_has_changed_at_first(originals):
    assert originals.changed() == []


@pytest.mark.parametrize(
    ("owner", "name", "path"),
    [
        (time, "perf_counter", "time.perf_counter"),
        (torch, "equal", "torch.equal"),
        (torch.Tensor, "abs", "torch._tensor.Tensor.abs"),
        (torch.cuda, "synchronize", "torch.cuda.synchronize"),
        (torch.cuda.Event, "elapsed_time", "torch.cuda.Event.elapsed_time"),
    ],
)
def test_replaced_function_is_named_and_is_fine_again_when_put_back(originals, monkeypatch, owner, name, path):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *_: 0)
        assert path in originals.changed()
    assert originals.changed() == []


def test_replaced_code_of_the_same_function_is_noticed(originals, monkeypatch):
    from pytest_kgate.statistics import estimates as stats

    monkeypatch.setattr(stats.count_outliers, "__code__", (lambda samples, tick_seconds: 0).__code__)
    assert "pytest_kgate.statistics.estimates.count_outliers" in originals.changed()


def test_method_and_constant_of_the_package_are_watched(originals, monkeypatch):
    from pytest_kgate.bench.correctness import check as oracle
    from pytest_kgate.bench.race import race

    monkeypatch.setattr(race, "SAMPLES", 1)
    monkeypatch.setattr(oracle.Correctness, "to_dict", lambda self: {})
    assert set(originals.changed()) >= {
        "pytest_kgate.bench.race.race.SAMPLES",
        "pytest_kgate.bench.correctness.check.Correctness.to_dict",
    }


def test_module_in_place_of_our_own_is_noticed(originals, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest_kgate.statistics.gates", types.ModuleType("pytest_kgate.statistics.gates"))
    assert originals.unknown() == ["pytest_kgate.statistics.gates"]


def test_module_imported_later_is_taken_before_its_importer_can_touch_it(originals, tmp_path, monkeypatch):
    import pytest_kgate

    (tmp_path / "late.py").write_text("def judge(): return False\n")
    monkeypatch.setattr(pytest_kgate, "__path__", [*pytest_kgate.__path__, str(tmp_path)])
    import pytest_kgate.late as late

    assert originals.unknown() == []
    late.judge = lambda: True
    assert originals.changed() == ["pytest_kgate.late.judge"]
    del sys.modules["pytest_kgate.late"]


def test_every_watched_name_exists():
    """A name that PyTorch has dropped would be watched in vain."""
    taken = Originals()
    watch_path = list(sys.meta_path)
    watch(taken)
    sys.meta_path[:] = watch_path
    names = {f"{name}.{entry}" for name, entries in WATCHED.items() for entry in entries.split()}
    missing = names - {f"{name}.{entry}" for name, entry in taken._watched}
    assert missing == set()
