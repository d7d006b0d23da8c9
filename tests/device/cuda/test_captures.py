"""Captures of CUDA graphs, on a GPU whose memory PyTorch's allocator has cached."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from pytest_kgate.device.cuda.timers.capture import Captures


@pytest.fixture
def captures(monkeypatch):
    """Made without a GPU: what is captured is called at once."""
    done = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(reset=lambda: None))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("cache emptied"))
    monkeypatch.setattr(Captures, "_open_pool", lambda self: None)
    monkeypatch.setattr(Captures, "recover", lambda self: done.append("capture ended"))
    monkeypatch.setattr(Captures, "_captured", lambda self, graph, call, launches, pad, keep: [call(0)])
    device = SimpleNamespace(
        capture_stream=None,
        current=lambda stream: contextlib.nullcontext(),
        wait=lambda: done.append("waited"),
        trim=lambda: None,
    )
    made = Captures(device)
    return made, done


def test_capture_that_has_no_room_is_made_again_once_the_cache_is_empty(captures):
    made, done = captures

    def call(turn):
        if not done:
            raise torch.OutOfMemoryError
        return "answer"

    assert made.capture(call, 1)[1] == ["answer"]
    assert done == ["capture ended", "waited", "cache emptied"]


def test_capture_that_has_no_room_even_so_says_it(captures):
    made, done = captures

    def call(turn):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        made.capture(call, 1)
    assert len(done) == 3
