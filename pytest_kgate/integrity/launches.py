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

_MARK = "kgate_null"
"""The kernel that ends a call's part of the profiler's records."""


@dataclass(frozen=True)
class Launches:
    """The launches of two calls with the same shapes, and of a graph of some."""

    first: Mapping[str, int]
    """How often each kernel ran, by name; memory copies and settings among them."""
    second: Mapping[str, int]
    replayed: Mapping[str, int] | None = None
    """None where no graph was asked for, or none can be captured."""

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

    @property
    def missing_in_graph(self) -> str | None:
        """Whether calls in a graph launch less than as many calls alone; None, or one clause."""
        if self.replayed is None:
            return None
        found, wanted = _count_work(self.replayed), _CAPTURED * self.work
        return None if found >= wanted else f"{_CAPTURED} calls in a graph run {found} kernels instead of {wanted}"

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


def observe(device: Device, call: Callable[[], Any], *, graph: bool = False) -> Launches | str:
    """Call twice and see, with `graph` in a graph too; where the profiler can't be had, one clause that says why."""
    try:
        if not hasattr(device, "instruments"):
            return Launches(_operators(call), _operators(call))
        captures, captured = _captured(device, call) if graph else (None, None)
        found = _kernels(device, [call, call, *([captured.replay] if captured is not None else ())])
        if captured is not None:
            captured.reset()
        if captures is not None:
            captures.close()
        return Launches(*found)
    except ImportError as error:
        return f"no profiler ({error})"
    except RuntimeError as error:
        device.synchronize()  # raises what a faulted kernel left; else it was the profiler that failed
        return f"the profiler failed ({str(error).splitlines()[0]})"


def _captured(device: Any, call: Callable[[], Any]) -> tuple[Captures, torch.cuda.CUDAGraph | None]:
    """A graph of some calls; none where they can't be captured now, and so were not timed by graphs."""
    captures = Captures(device)
    try:
        return captures, captures.capture(lambda turn: call(), _CAPTURED)[0]
    except (RuntimeError, CandidateError):
        captures.recover()
        return captures, None


def _count_work(kernels: Mapping[str, int]) -> int:
    return sum(count for name, count in kernels.items() if not _NOT_WORK.match(name))


def _kernels(device: Any, calls: Sequence[Callable[[], Any]]) -> list[dict[str, int]]:
    """What each call launches, in one session of the profiler: to begin and to end one takes 4 ms."""
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for call in calls:
            call()
            torch.cuda.synchronize(device.index)  # what it left on other streams is its own as well
            device.instruments.null(device.stream)
        torch.cuda.synchronize(device.index)
    events = profiler.profiler.kineto_results.events() if profiler.profiler is not None else ()
    names = [
        event.name()
        for event in sorted(events, key=lambda event: int(event.start_ns()))
        if event.device_type() == DeviceType.CUDA and is_work(event.name())
    ]
    if names.count(_MARK) != len(calls):  # the candidate has launched one of its own
        return [_kernels(device, [call])[0] for call in calls] if len(calls) > 1 else [dict(Counter(names))]
    found: list[Counter[str]] = [Counter()]
    for name in names:
        if name == _MARK:
            found.append(Counter())
        else:
            found[-1][name] += 1
    return [dict(launched) for launched in found[:-1]]


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


def _operators(call: Callable[[], Any]) -> dict[str, int]:
    with _Operators() as operators:
        call()
    return dict(operators.seen)
