"""A stand-in for a GPU's context, by which its timers run on the CPU."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_kgate.problems.trees import tree


class Event:
    """In place of `torch.cuda.Event`."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        return (end.at - self.at) * 1e3


def stand_in_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The CPU in the role of a GPU: inputs are written to by PyTorch's copies, as autograd notices."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(
        tree, "write_span", lambda tensor, value: tree.storage_span(tensor).copy_(tree.storage_span(value))
    )
    return SimpleNamespace(
        torch_device="cpu",
        stream=None,
        l2_bytes=4096,
        running=lambda doing: torch.no_grad(),
        wait=lambda: None,
        synchronize=lambda: None,
        give_way=lambda: True,
        available_bytes=lambda: 2**30,
        instruments=SimpleNamespace(
            hold=lambda stream: None,
            release=lambda: None,
            host_was_late=lambda: False,
            null=lambda stream: None,
            clock=lambda stream, reading: reading.fill_(1),
        ),
    )
