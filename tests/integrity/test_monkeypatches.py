"""Functions that were replaced are named; what a session does by itself is no tampering."""

from __future__ import annotations

import sys
import time
import types

import pytest
import torch

from pytest_kgate.integrity.tampering.monkeypatches import CHECKED_NAMES
from pytest_kgate.integrity.tampering.monkeypatches import MonkeypatchDetector
from pytest_kgate.integrity.tampering.monkeypatches import follow_imports


@pytest.fixture
def detector():
    found = MonkeypatchDetector()
    before = list(sys.meta_path)
    follow_imports(found)
    yield found
    sys.meta_path[:] = before


def test_nothing_has_changed_at_first(detector):
    assert detector.changed() == []


@pytest.fixture
def default_dtype():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


def test_default_dtype_of_a_conftest_is_no_tampering(detector, default_dtype):
    default_dtype(torch.float64)
    assert detector.changed() == []


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
def test_replaced_function_is_named_and_is_fine_again_when_put_back(detector, monkeypatch, owner, name, path):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *_: 0)
        assert path in detector.changed()
    assert detector.changed() == []


def test_replaced_code_of_the_same_function_is_noticed(detector, monkeypatch):
    from pytest_kgate.statistics import estimates

    monkeypatch.setattr(estimates.count_outliers, "__code__", (lambda samples, tick_seconds: 0).__code__)
    assert "pytest_kgate.statistics.estimates.count_outliers" in detector.changed()


def importers(monkeypatch, shared):
    """Two of the package's modules that have this function, as they are imported one after the other."""
    for name in ("pytest_kgate.first", "pytest_kgate.second"):
        module = types.ModuleType(name)
        module.shared = shared
        monkeypatch.setitem(sys.modules, name, module)
        yield module


def test_default_that_is_written_into_a_function_is_noticed(monkeypatch):
    def shared(*, seconds: float = 1.0) -> float:
        return seconds

    detector = MonkeypatchDetector()
    for module in importers(monkeypatch, shared):
        detector.remember(module)
    assert detector.changed() == []
    shared.__kwdefaults__["seconds"] = 2.0
    assert detector.changed() == ["pytest_kgate.first.shared", "pytest_kgate.second.shared"]


def test_code_replaced_before_another_module_imports_the_function_is_noticed(monkeypatch):
    def shared() -> int:
        return 1

    detector = MonkeypatchDetector()
    for module in importers(monkeypatch, shared):
        detector.remember(module)
        assert detector.changed() == ([] if module.__name__.endswith("first") else ["pytest_kgate.first.shared"])
        shared.__code__ = (lambda: 2).__code__


def test_method_and_constant_of_the_package_are_compared(detector, monkeypatch):
    from pytest_kgate.bench.correctness.comparison import outcome
    from pytest_kgate.bench.race import round_plan

    monkeypatch.setattr(round_plan, "SAMPLES", 1)
    monkeypatch.setattr(outcome.Correctness, "to_dict", lambda self: {})
    assert set(detector.changed()) >= {
        "pytest_kgate.bench.race.round_plan.SAMPLES",
        "pytest_kgate.bench.correctness.comparison.outcome.Correctness.to_dict",
    }


def test_module_that_one_of_ours_uses_and_builtins_that_it_would_find_are_compared(detector, monkeypatch):
    from pytest_kgate.device import host

    with monkeypatch.context() as patch:
        patch.setattr(host, "time", types.SimpleNamespace(**vars(time)))
        assert detector.changed() == ["pytest_kgate.device.host.time"]
    with monkeypatch.context() as patch:
        patch.setattr(host, "range", range, raising=False)
        assert detector.changed() == ["pytest_kgate.device.host.range"]
    assert detector.changed() == []


def test_module_in_place_of_our_own_is_noticed(detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest_kgate.statistics.gates", types.ModuleType("pytest_kgate.statistics.gates"))
    assert detector.replaced_modules() == ["pytest_kgate.statistics.gates"]


def test_module_imported_later_is_taken_before_its_importer_can_touch_it(detector, tmp_path, monkeypatch):
    import pytest_kgate

    (tmp_path / "late.py").write_text("def judge(): return False\n")
    monkeypatch.setattr(pytest_kgate, "__path__", [*pytest_kgate.__path__, str(tmp_path)])
    import pytest_kgate.late as late

    assert detector.replaced_modules() == []
    late.judge = lambda: True
    assert detector.changed() == ["pytest_kgate.late.judge"]
    del sys.modules["pytest_kgate.late"]


def test_every_checked_name_exists():
    """A name that PyTorch or the driver's bindings have dropped would be checked in vain."""
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings, of the test extra")
    detector = MonkeypatchDetector()
    meta_path = list(sys.meta_path)
    follow_imports(detector)
    sys.meta_path[:] = meta_path
    names = {f"{name}.{entry}" for name, entries in CHECKED_NAMES.items() for entry in entries.split()}
    missing = names - {f"{name}.{entry}" for name, entry in detector._functions}
    assert missing == set()
