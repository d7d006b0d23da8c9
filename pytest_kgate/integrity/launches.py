"""What a candidate launches: kernels on a GPU, by the profiler's activity records; PyTorch's operators on the host."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_kgate.device.base import Device
from pytest_kgate.device.capture import Captures
from pytest_kgate.errors import CandidateError

_LIBRARIES = {
    "cuDNN": r"cudnn|fort_native_sdpa",
    "cuBLAS": r"cublas|xmma_gemm|\d+gemm|gemm_\w*_[nt]{2}_|gemmSN|gemv2[NT]|nvjet|cutlass_\d\d_|splitKreduce",
    "PyTorch's attention": r"pytorch_flash|flash_fwd|fmha_cutlass|pytorch_fmha|scaled_dot_product|_flash_attention",
    "PyTorch's operators": r"^(void )?at::(native|cuda)|^aten::(\w*softmax|\w*mm\w*|linear|conv\w*|einsum|matmul)\b",
    "FlashInfer or FlashAttention": r"flash::|flashinfer",
    "MKL or oneDNN": r"mkldnn|onednn",
}
"""How kernels and operators of the libraries that a candidate may be meant to beat are called."""

_NOT_WORK = re.compile(r"^(Memcpy|Memset|\[memory\]|aten::(empty|as_strided|view|detach|alias|t\b|transpose))")


_CAPTURED = 3
"""Calls in a graph that is compared with calls alone."""


@dataclass(frozen=True)
class Launches:
    """The launches of two calls with the same shapes."""

    first: Mapping[str, int]
    """How often each kernel ran, by name; memory copies and settings among them."""
    second: Mapping[str, int]

    @property
    def works(self) -> bool:
        """Whether anything was launched that computes."""
        return any(not _NOT_WORK.match(name) for name in (*self.first, *self.second))

    @property
    def work(self) -> int:
        """How many launches that compute each call makes, at least."""
        return min(_count_work(self.first), _count_work(self.second))

    @property
    def differ(self) -> list[str]:
        """Kernels that only one of the two calls launched."""
        return sorted(set(self.first) ^ set(self.second))

    def library(self, says: Sequence[str]) -> tuple[str, str] | None:
        """The first kernel that a library owns, and which; not of libraries that the candidate says it calls.

        `says`: its name, and the libraries that its source declares.
        """
        claimed = " ".join(says).lower()
        for name in (*self.first, *self.second):
            for library, pattern in _LIBRARIES.items():
                said = any(word in claimed for word in library.lower().split() if len(word) > 3)
                if re.search(pattern, name) and not said:
                    return name, library
        return None


def observe(device: Device, call: Callable[[], Any]) -> Launches | str:
    """Call twice and see; where the profiler can't be had, one clause that says why."""
    watch = _kernels if hasattr(device, "instruments") else _operators
    try:
        return Launches(watch(device, call), watch(device, call))
    except ImportError as error:
        return f"no profiler ({error})"
    except RuntimeError as error:
        device.synchronize()  # raises what a faulted kernel left; else it was the profiler that failed
        return f"the profiler failed ({str(error).splitlines()[0]})"


def missing_in_graph(device: Any, call: Callable[[], Any], seen: Launches) -> str | None:
    """Whether calls in one graph launch less than as many calls alone; None, or one clause."""
    captures = Captures(device)
    try:
        graph, _ = captures.capture(lambda turn: call(), _CAPTURED)
    except (RuntimeError, CandidateError):
        captures.recover()
        captures.close()
        return None  # what can't be captured now was not timed by graphs
    replayed = _count_work(_kernels(device, graph.replay))
    graph.reset()
    captures.close()
    wanted = _CAPTURED * seen.work
    return None if replayed >= wanted else f"{_CAPTURED} calls in a graph run {replayed} kernels instead of {wanted}"


def _count_work(kernels: Mapping[str, int]) -> int:
    return sum(count for name, count in kernels.items() if not _NOT_WORK.match(name))


def _kernels(device: Any, call: Callable[[], Any]) -> dict[str, int]:
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize(device.index)
    events = profiler.profiler.kineto_results.events() if profiler.profiler is not None else ()
    cuda = DeviceType.CUDA
    return dict(Counter(event.name() for event in events if event.device_type() == cuda and is_work(event.name())))


def is_work(name: str) -> bool:
    """Records of the device's side also hold its waits; kernels of cuDNN begin like functions of CUDA."""
    return not re.match(r"(cuda|cu)[A-Z]|Context Sync|Event|Stream", name)


class _Operators(TorchDispatchMode):
    """Counts PyTorch's operators; what a host kernel of one's own does is none of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen[str(func.name()).partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def _operators(device: Device, call: Callable[[], Any]) -> dict[str, int]:
    with _Operators() as operators:
        call()
    return dict(operators.seen)
