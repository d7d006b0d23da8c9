"""The stream that the kernels of a race run on, where that is not the one that the calls are made on.

A launch without a stream, `<<<grid, block>>>`, goes to CUDA's default stream, and so do libraries that do not know
PyTorch's current one. PyTorch's other streams do not wait for it: events there time nothing, a captured graph is empty,
and a kernel may read its inputs before they are written. So the whole race is run on the default stream then. A stream
that was made not to wait for that one either (`cudaStreamNonBlocking`) can't be timed from outside.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.integrity.side_effects.streams import ends_on_default_stream
from pytest_kgate.integrity.side_effects.streams import works_elsewhere

if TYPE_CHECKING:
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Workload


@dataclass(frozen=True)
class Placement:
    """Arms, by name, that do not work on the stream that they are called on."""

    on_default_stream: tuple[str, ...] = ()
    """They launch on CUDA's default stream, or on one that waits for it and that it waits for."""
    apart: tuple[str, ...] = ()
    """They launch on a stream of their own that waits for no other."""

    @property
    def warning(self) -> str | None:
        """What a reader of the record must know of where the race was run; None where there is nothing to say."""
        if not self.on_default_stream:
            return None
        return (
            f"the {' and the '.join(self.on_default_stream)} launched on CUDA's default stream, not on the stream of "
            "the call, so the race was run there, and not in CUDA graphs; to change that, launch on "
            "torch.cuda.current_stream(), or on the `stream` that a kernel file is handed"
        )

    @property
    def finding(self) -> str | None:
        """Why nothing can be timed, as a sentence; None where it can."""
        if not self.apart:
            return None
        return (
            f"the timer does not see the work of the {' and the '.join(self.apart)}: it is done on a stream of its "
            "own, which does not wait for the stream that the call is made on."
        )


@contextlib.contextmanager
def placed(
    device: Device, arms: Sequence[Arm], workload: Workload, seeds: Callable[[int, int], int]
) -> Iterator[Placement]:
    """Find the stream that the arms work on; where it is the default one, the device runs everything there meanwhile.

    `seeds(arm, number)` tells the seed of each draw. Looks at CUDA devices alone, where launches do not wait.
    """
    if not isinstance(device, CudaContext) or device.launches_block:
        yield Placement()
        return

    draws = itertools.count()

    def both(arm: int) -> tuple[int, int]:
        # New ones for each look: memory that is used again may hold the answer to those of an earlier one.
        return seeds(arm, next(draws)), seeds(arm, next(draws))

    def stray(number: int, arm: Arm) -> bool:
        return bool(works_elsewhere(device, arm, workload, both(number))) or (
            not device.on_default_stream and ends_on_default_stream(device, arm, workload, both(number))
        )

    def strays(among: Sequence[Arm]) -> list[Arm]:
        with device.running("finding the stream that is worked on"):
            return [arm for number, arm in enumerate(among) if stray(number, arm)]

    found = strays(arms)
    if not found:
        yield Placement()
        return
    with device.default_stream():
        apart = [arm.name for arm in strays(found)]
        yield Placement(tuple(arm.name for arm in found if arm.name not in apart), tuple(apart))
