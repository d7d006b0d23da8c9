"""Measure that a timer's flush before a cold sample does empty the L2: by the latency of dependent loads.

Bandwidth would tell little, for reading what fits in an L2 takes no longer than a launch. The latency of one load does:
on data-centre GPUs a hit in the L2 takes some 270 cycles and a read of device memory more than twice that. One thread
follows a chain of pointers, 4 KiB apart in random order, and counts SM clock cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.device.protocol import ColdCache

if TYPE_CHECKING:
    from pytest_kgate.device.cuda.context import CudaContext

_LINKS = 512
"""Length of the chain: at 0.4 us a load, 0.2 ms with a cold cache."""

_STRIDE_BYTES = 4096
"""Between links: no prefetch of a neighbouring line helps. The chain spans 2 MiB, a fraction of any large L2."""

_REPEATS = 3


def cold_probe(device: CudaContext, flush: Callable[[], Any]) -> ColdCache:
    """Cycles of a dependent load, each the median of three tries: from the cache, and after `flush`.

    `flush` enqueues on the device's stream what a timer does before a cold sample. Takes some 2 ms.
    """
    stream, chase = device.stream, device.instruments.chase
    with device.running("probing the cache"):
        chain = _chain(device.torch_device)
        readings = torch.zeros((_REPEATS, 2, 2), dtype=torch.int64, device=device.torch_device)
        scratch = torch.zeros(2, dtype=torch.int64, device=device.torch_device)
        for of_hot, of_flushed in readings:
            chase(stream, chain, _LINKS, scratch)
            chase(stream, chain, _LINKS, of_hot)
            flush()
            chase(stream, chain, _LINKS, of_flushed)
        device.wait()
        # On the host: a median on a GPU is refused under torch.use_deterministic_algorithms.
        hot, flushed = (readings[:, :, 0].cpu().double().median(dim=0).values / _LINKS).tolist()
    return ColdCache(hot_cycles=hot, flushed_cycles=flushed)


def _chain(where: str) -> torch.Tensor:
    """Links in random order, each holding the address of the next, around to the first; int64."""
    words = _STRIDE_BYTES // 8
    chain = torch.zeros(_LINKS * words, dtype=torch.int64, device=where)
    order = torch.randperm(_LINKS - 1, generator=torch.Generator().manual_seed(0)) + 1
    order = torch.cat([torch.zeros(1, dtype=torch.int64), order])  # begins where the buffer does
    following = torch.empty(_LINKS, dtype=torch.int64)
    following[order] = order.roll(-1)
    chain[::words] = (chain.data_ptr() + following * _STRIDE_BYTES).to(where)
    return chain
