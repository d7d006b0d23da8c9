"""Code that draws from PyTorch's global generators, made repeatable: they are seeded for it, and put back after it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Generator


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """In the block, whatever draws without a generator follows from `seed`, and new tensors are made on `device`.

    After it, the generators of Python, NumPy, the CPU and the device are where they were before: neither is what is
    drawn next foreseeable from `seed`, nor does the block change what others draw.
    """
    generators = _global_generators(device)
    states = [generator.get_state() for generator in generators]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        for generator in generators:
            generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        with device:
            yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        random.setstate(python)
        np.random.set_state(numpy)


def _global_generators(device: torch.device) -> list[Generator]:
    if device.type != "cuda":
        return [torch.default_generator]
    torch.cuda.init()  # there are no generators before
    number = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[number]]
