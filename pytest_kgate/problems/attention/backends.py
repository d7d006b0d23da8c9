"""PyTorch's SDPA backends: their names, and how one is chosen for a call."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

_SWITCHES: Mapping[str, tuple[Callable[[bool], Any], Callable[[], Any]]] = MappingProxyType(
    {
        "flash": (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled),
        "cudnn": (torch.backends.cuda.enable_cudnn_sdp, torch.backends.cuda.cudnn_sdp_enabled),
        "efficient": (torch.backends.cuda.enable_mem_efficient_sdp, torch.backends.cuda.mem_efficient_sdp_enabled),
        "math": (torch.backends.cuda.enable_math_sdp, torch.backends.cuda.math_sdp_enabled),
    }
)
"""How each is switched on and off, and asked for."""

BACKENDS = tuple(_SWITCHES)
"""By the names of `--kgate-sdpa-backend`, which has `flex` besides."""


class only:  # noqa: N801  (read as a verb: `with only("flash")`)
    """No other backend in the block: what `torch.nn.attention.sdpa_kernel` does, in 1 us instead of 20.

    A round captures dozens of calls, and the wall clock would count that time against PyTorch.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = [enabled() for _, enabled in _SWITCHES.values()]
        for name, (enable, _) in _SWITCHES.items():
            enable(name == self._name)

    def __exit__(self, *_: object) -> None:
        for (enable, _enabled), before in zip(_SWITCHES.values(), self._before, strict=True):
            enable(before)
