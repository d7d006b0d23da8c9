"""Launches captured in CUDA graphs, over and over, without what `torch.cuda.graph` does besides."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.device.rows import by_turn
from pytest_kgate.errors import CandidateError

if TYPE_CHECKING:
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.cuda.context import CudaContext
    from pytest_kgate.device.protocol import Workload


class Captures:
    """Captures on a device's stream, which must be current, with a memory pool that outlives the graphs."""

    def __init__(self, device: CudaContext) -> None:
        self._device = device
        self._open_pool()

    def capture(
        self,
        call: Callable[[int], Any],
        launches: int,
        *,
        pad_bytes: int = 0,
        keep: bool = False,
        to_read: bool = False,
    ) -> tuple[torch.cuda.CUDAGraph, list[Any]]:
        """The graph of `call(0)`, `call(1)` and so on, and the last result, or with `keep` all of them.

        Results that are not kept give their memory to the next launch. `pad_bytes` moves what is allocated. A graph
        `to_read` is not made ready to be replayed, and raises TypeError with a PyTorch that knows no such thing.
        `torch.cuda.graph` would also collect garbage and empty the cache, at 10 ms.
        """
        graph = torch.cuda.CUDAGraph(keep_graph=True) if to_read else torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            pad = torch.empty(pad_bytes, dtype=torch.uint8, device=self._device.torch_device)
            results: list[Any] = []
            for turn in range(launches):
                results = [*(results if keep else ()), call(turn)]
            del pad
        except BaseException:
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
        return graph, results

    def refusal(self, call: Callable[[int], Any]) -> str | None:
        """Why this can't be captured, as a clause; None where it can."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # where the very first launch refuses
                graph, _ = self.capture(call, 2)
        except (RuntimeError, CandidateError) as error:
            self.recover()
            self._device.wait()
            return str(error).splitlines()[0]
        graph.reset()
        return None

    def close(self) -> None:
        """Let the pool go."""
        self._anchor.reset()

    def _open_pool(self) -> None:
        """A graph of its own keeps the pool alive between rounds, whose graphs come and go."""
        self._pool = torch.cuda.graph_pool_handle()
        scratch = torch.empty(1, device=self._device.torch_device)
        self._anchor, _ = self.capture(lambda turn: scratch.zero_(), 1)

    def recover(self) -> None:
        """Bring PyTorch out of a capture that broke off; its generators and allocator still think it goes on.

        A capture that succeeds takes the generators out of that state; without it the next `torch.randn` fails.
        """
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self._device.index, self._pool)
        self._open_pool()


def refusals(device: CudaContext, arms: Sequence[Arm], workload: Workload) -> dict[str, str]:
    """Capture each arm once; why an arm can't be captured, by its name."""
    found = {}
    with device.running("capturing"):
        inputs = workload.draw(0)
        outputs = [workload.output_for(arm, inputs) for arm in arms]
        for arm, output in zip(arms, outputs, strict=True):
            arm.call(inputs, output)  # loads modules and compiles, which a capture must not
        device.wait()
        captures = Captures(device)
        for index, arm in enumerate(arms):
            reason = captures.refusal(by_turn(arms, index, [(inputs, outputs)]))
            if reason is not None:
                found[arm.name] = reason
        captures.close()
    return found
