"""Capture calls in CUDA graphs many times a second, without the costly clean-up that `torch.cuda.graph` does."""

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
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.cuda.context import CudaContext
    from pytest_kgate.device.protocol import Workload


_EMPTY = "The CUDA Graph is empty"
"""How PyTorch's warning begins where nothing was captured."""


class Captures:
    """Captures graphs on a device's own stream, with a memory pool that outlives the graphs."""

    def __init__(self, device: CudaContext, pool: Any = None) -> None:
        """`pool`: the identifier of a `torch.cuda.MemPool`, used until a capture breaks off; None for an own one."""
        self._device = device
        self._given = pool
        device.trim()
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
        """Capture `call(0)`, `call(1)` and so on; returns the graph and the last result, with `keep` all results.

        The memory of results that are not kept is used again by the next launch. `pad_bytes` shifts the addresses of
        what is allocated. A graph `to_read` can't be replayed, only inspected; a PyTorch that can't keep such a graph
        raises TypeError. `torch.cuda.graph` would also collect garbage and empty the cache, which takes 10 ms.
        """

        def attempt() -> tuple[torch.cuda.CUDAGraph, list[Any]]:
            graph = torch.cuda.CUDAGraph(keep_graph=True) if to_read else torch.cuda.CUDAGraph()
            with self._device.current(self._device.capture_stream):
                return graph, self._captured(graph, call, launches, pad_bytes, keep)

        try:
            return attempt()
        except torch.OutOfMemoryError:
            self.recover()
        # While a graph is captured, PyTorch's allocator does not give back what it has cached for calls outside of it.
        self._device.wait()
        torch.cuda.empty_cache()
        return attempt()

    def _captured(
        self, graph: torch.cuda.CUDAGraph, call: Callable[[int], Any], launches: int, pad_bytes: int, keep: bool
    ) -> list[Any]:
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            # A storage: an empty tensor is filled, and that captured, under torch.use_deterministic_algorithms.
            pad = torch.UntypedStorage(pad_bytes, device=self._device.torch_device)
            results: list[Any] = []
            for turn in range(launches):
                results = [*(results if keep else ()), call(turn)]
            del pad
        except BaseException:
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
        return results

    def refusal(self, call: Callable[[int], Any]) -> str | None:
        """Why this call can't be captured in a graph, as a clause; None where it can."""
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.filterwarnings("always", _EMPTY)
                graph, _ = self.capture(call, 2)
        except (RuntimeError, CandidateError) as error:
            self.recover()
            self._device.wait()
            return str(error).splitlines()[0]
        if any(str(one.message).startswith(_EMPTY) for one in said):
            self._device.synchronize()  # what ran elsewhere may use memory of the graph, which goes now
            graph.reset()
            return "it launches nothing on the stream that it is called on"
        graph.reset()
        return None

    def close(self) -> None:
        """Release the memory pool."""
        self._anchor.reset()
        if self._device.lost is None:
            self._device.trim()

    def _open_pool(self) -> None:
        """Keep the memory pool alive between rounds, whose graphs come and go, by a small graph of its own."""
        self._pool = self._given or torch.cuda.graph_pool_handle()
        scratch = torch.empty(1, device=self._device.torch_device)
        self._anchor, _ = self.capture(lambda turn: scratch.zero_(), 1)

    def recover(self) -> None:
        """Reset PyTorch after a capture that broke off: its generators and allocator still act as if it went on.

        A capture that succeeds takes the generators out of that state; without it the next `torch.randn` fails.
        """
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self._device.index, self._pool)
        self._given = None
        self._open_pool()


def refusals(device: CudaContext, arms: Sequence[Arm], workload: Workload) -> dict[str, str]:
    """Capture each arm once; why an arm can't be captured, by its name."""
    if torch.cuda.get_allocator_backend() == "cudaMallocAsync":
        said = "PyTorch's allocator is cudaMallocAsync, whose allocations are captured and timed with the kernels"
        return {arm.name: said for arm in arms}
    found = {}
    with device.running("capturing"):
        inputs = workload.draw(0)
        if any(tensor.layout is not torch.strided for tensor in tree.tensors(inputs)):
            said = "an input is sparse, and new values lie elsewhere, where a captured call does not look"
            return {arm.name: said for arm in arms}
        outputs = [workload.output_for(arm, inputs) for arm in arms]
        for arm, output in zip(arms, outputs, strict=True):
            arm.call(inputs, output)  # loads modules and compiles, which a capture must not
        device.wait()
        captures = Captures(device)
        for index, arm in enumerate(arms):
            if arms[index].prepare is None:
                reason = captures.refusal(by_turn(arms, index, [(inputs, outputs)]))
            else:
                reason = "what its forward pass keeps lies elsewhere each time"
            if reason is not None:
                found[arm.name] = reason
        captures.close()
    return found
