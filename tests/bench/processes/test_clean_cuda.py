"""Gates on a GPU, looked at once more in a process that runs nothing of the candidate."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.clean_process]

TESTS = """
import pytest, torch
import torch.nn.functional as F
from pytest_kgate import Shape
from pytest_kgate.session.session import SESSION

SHAPE = Shape(1, 8, 512, 64)

@pytest.mark.parametrize("number", range(5))
def test_honest(kbench, sdpa_oracle, number):
    kbench(lambda q, k, v: F.scaled_dot_product_attention(q, k, v), sdpa_oracle(SHAPE, backend="flash"), speedup=1.5)

def test_memory_is_given_back(request):
    (process,) = request.config.stash[SESSION].room._processes.values()
    import pynvml
    pynvml.nvmlInit()
    from pytest_kgate.device.cuda.nvml.state import gpu_uuid
    handle = pynvml.nvmlDeviceGetHandleByUUID(gpu_uuid(0))
    used = {one.pid: one.usedGpuMemory for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    found = used.get(process.pid)
    assert found is None or found < 2**30  # its context alone; containers hide other processes

def test_slowed(kbench, sdpa_oracle, monkeypatch):
    from pytest_kgate.integrity.tampering.monkeypatches import MonkeypatchDetector
    real = F.scaled_dot_product_attention
    def slow(*inputs, **options):
        for _ in range(3):
            real(*inputs, **options)
        return real(*inputs, **options)
    monkeypatch.setattr(MonkeypatchDetector, "changed", lambda self: [])
    monkeypatch.setattr(F, "scaled_dot_product_attention", slow)
    kbench(lambda q, k, v: real(q, k, v), sdpa_oracle(SHAPE, backend="flash"), speedup=0.8)

def test_wrong(kbench, sdpa_oracle, monkeypatch):
    from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
    from pytest_kgate.integrity.tampering.monkeypatches import MonkeypatchDetector
    monkeypatch.setattr(MonkeypatchDetector, "changed", lambda self: [])
    monkeypatch.setattr(ExactAnswer, "_errors", lambda self, answer, slab: torch.zeros_like(self._wide(slab)))
    kbench(lambda q, k, v: q + 1, sdpa_oracle(SHAPE), allclose=1e-3, weak="allow")
"""


def test_honest_gates_pass_and_what_the_tests_process_hides_is_found(pytester):
    pytester.makepyfile(test_it=TESTS)
    options = ("--kgate-device=cuda", "--kgate-clean=on", "--kgate-json=records.json", "--kgate-budget=5")
    pytester.runpytest_subprocess(*options)
    records = json.loads((pytester.path / "records.json").read_text())["records"]
    found = {one["test"].partition("::")[2]: one for one in records}
    for number in range(5):
        honest = found[f"test_honest[{number}]"]
        assert honest["verdict"] == "PASS", honest["reason"]
        assert honest["integrity"]["clean"]["done"], honest["integrity"]["clean"]
        assert honest["integrity"]["clean"]["charged"] == 1.0
        assert 0.9 < honest["integrity"]["clean"]["slowed"] < 1.1
    assert "times as long in the tests' process" in found["test_slowed"]["reason"]
    assert "clean process, which runs nothing of the candidate: max" in found["test_wrong"]["reason"]
