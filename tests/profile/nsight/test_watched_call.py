"""When the profiler is on, and what the ranges around it are called, with a stand-in for PyTorch's calls of CUDA."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.cuda import nvtx
from torch.cuda import profiler

from pytest_kgate.profile.nsight.collection import launches

GPU = SimpleNamespace(torch_device="cuda:1")


@pytest.fixture
def told(monkeypatch):
    """The calls, in order."""
    calls = []
    monkeypatch.setattr(nvtx, "range_push", lambda name: calls.append(f"push {name}"))
    monkeypatch.setattr(nvtx, "range_pop", lambda: calls.append("pop"))
    monkeypatch.setattr(nvtx, "range_start", lambda name: calls.append(f"open {name}") or 7)
    monkeypatch.setattr(nvtx, "range_end", lambda handle: calls.append(f"close {handle}"))
    monkeypatch.setattr(profiler, "start", lambda: calls.append("on"))
    monkeypatch.setattr(profiler, "stop", lambda: calls.append("off"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(calls.append(f"of {device}")))
    return calls


def test_the_profiler_is_on_for_the_call_alone_within_both_kinds_of_range(told):
    with launches._watched(GPU, "kgate.3.0.candidate") as cut_off:
        told.append("call")
    assert not cut_off.is_set()
    assert told == ["push kgate.3.0.candidate", "open kgate.3.0.candidate", "on", "call", "off", "close 7", "pop"]


def test_it_is_off_again_where_the_call_raises(told):
    with pytest.raises(ZeroDivisionError), launches._watched(GPU, "kgate.3.0.candidate"):
        raise ZeroDivisionError
    assert told[2:] == ["on", "off", "close 7", "pop"]


def test_a_call_that_takes_too_long_is_cut_off_on_its_own_gpu(told, monkeypatch):
    monkeypatch.setattr(launches, "MOST_SECONDS", 0.0)
    with launches._watched(GPU, "kgate.3.0.candidate") as cut_off:
        assert cut_off.wait(10.0)
    assert told.count("of cuda:1") == 1
