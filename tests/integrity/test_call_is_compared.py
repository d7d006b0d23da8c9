"""What a call goes by, its request, its settings and its device: a candidate finds them in its callers' frames."""

from __future__ import annotations

import pytest

from pytest_kgate.report.record.document import load

TEST = """
import sys
import pytest
import torch
from pytest_kgate import Problem

def local(name):
    frame = sys._getframe()
    while frame.f_code.co_name != "_run" or name not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals[name]

def slow(x):
    for _ in range(20):
        y = torch.relu(x)
    return y

@pytest.mark.allclose(1e-6)
@pytest.mark.speedup(0.9)
def test(kbench):
    def candidate(x):
        {change}
        return torch.relu(x)

    inputs = lambda g: (torch.randn(4096, generator=g),)
    kbench(candidate, Problem("relu", inputs, slow, lambda x: torch.relu(x.double())))
"""

CHANGES = {
    "the call's request": 'object.__setattr__(local("request"), "speed", tuple(list(local("request").speed)))',
    "the call's settings": 'object.__setattr__(local("settings"), "verify_timed_launches", False)',
    "the device": 'local("device").kind = "fake"',
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_call_goes_by_is_compared(pytester, name):
    pytester.makepyfile(TEST.replace("{change}", CHANGES[name]))
    pytester.runpytest_subprocess("--kgate-device=host", "--kgate-json=records.json", "--kgate-foreign-load=warn")
    (record,) = load(pytester.path / "records.json")
    reasons = [one["reason"] for one in record["integrity"]["findings"]]
    assert any(f"was replaced: {name}" in one for one in reasons)
    assert record["verdict"] == "INVALID"
