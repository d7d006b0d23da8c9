"""What a published problem's call takes, found without computing it: its tensors have shapes and no memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pytest_kgate.problems.published.kernelbench.source import Source
from pytest_kgate.problems.trees import tree


@dataclass(frozen=True)
class Needs:
    """Of one call of the model."""

    size_bytes: int
    """Inputs and outputs together."""
    gflop: float
    """Of matrix products and convolutions; others are not counted."""


def needs_of(path: Path) -> Needs | None:
    """None where the model can't be called so, because it asks for values, or imports what is not installed."""
    try:
        source = Source.read(path)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), FlopCounterMode(display=False) as counter:
            inputs = source.get_inputs()
            model = source.model(*source.get_init_inputs())
            before = counter.get_total_flops()
            outputs = model(*inputs)
    except Exception as error:  # whatever a published file raises
        print(f"{path.stem}: not known what it needs: {type(error).__name__}", file=sys.stderr)
        return None
    size = sum(one.numel() * one.element_size() for one in tree.tensors((inputs, outputs)))
    return Needs(size, (counter.get_total_flops() - before) / 1e9)
