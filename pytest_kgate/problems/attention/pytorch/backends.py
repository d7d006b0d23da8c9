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


_ON_HOST = ("flash", "math")
"""Those that exist for tensors of the host; the other switches mean nothing there."""


class only:  # noqa: N801  (read as a verb: `with only("flash")`)
    """No other backend in the block: what `torch.nn.attention.sdpa_kernel` does, in 1 us instead of 20.

    A round captures dozens of calls, and the wall clock would count that time against PyTorch: on the host it is half a
    microsecond, since only switches are touched that mean something there and are not yet as they should be.
    """

    def __init__(self, name: str, *, on_host: bool) -> None:
        self._name = name
        self._backends = _ON_HOST if on_host else BACKENDS
        self._changed: list[tuple[Callable[[bool], Any], bool]] = []

    def __enter__(self) -> None:
        for backend in self._backends:
            wanted = backend == self._name
            enable, enabled = _SWITCHES[backend]
            if enabled() is not wanted:
                self._changed.append((enable, not wanted))
                enable(wanted)

    def __exit__(self, *_: object) -> None:
        for enable, before in self._changed:
            enable(before)
