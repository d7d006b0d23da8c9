"""What a candidate's calls launch: kernels on a GPU, by graph nodes or the profiler; PyTorch operators on a host."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.launches.graph_nodes import Unlisted
from pytest_kgate.integrity.launches.graph_nodes import launched_by
from pytest_kgate.report.format import counted

_LIBRARIES = {
    "cuDNN": r"cudnn|fort_native_sdpa",
    "cuBLAS": r"cublas|xmma_gemm|\d+gemm|gemm_\w*_[nt]{2}_|gemmSN|gemv2[NT]|nvjet|cutlass_\d\d_|splitKreduce",
    "PyTorch's attention": r"pytorch_flash|flash_fwd|fmha_cutlass|pytorch_fmha|scaled_dot_product|_flash_attention",
    "PyTorch's operators": r"^(void )?at::(native|cuda)|^aten::(\w*softmax|\w*mm\w*|linear|conv\w*|einsum|matmul)\b",
    "FlashInfer or FlashAttention": r"flash::|flashinfer",
    "MKL or oneDNN": r"mkldnn|onednn",
}
"""Patterns of the names of libraries' kernels and operators: a candidate that claims to be its own may not run
these."""

_LOG_LEVEL, _NO_LINES = "KINETO_LOG_LEVEL", "6"

_NOT_WORK = re.compile(r"^(Memcpy|Memset|\[memory\]|aten::(empty|as_strided|view|detach|alias|t\b|transpose))")


_CAPTURED = 3
"""Calls in the graph whose kernels are compared with those of graphs of one call."""

_MARK = "kgate_null"
"""The empty kernel that is launched after each call, to tell the calls apart in the profiler's records."""


@dataclass(frozen=True)
class Launches:
    """The launches of two calls with the same shapes, and of a graph of several calls."""

    first: Mapping[str, int]
    """How often each kernel was launched, by name; memory copies and memsets are included."""
    second: Mapping[str, int]
    together: Mapping[str, int] | None = None
    """The launches of `_CAPTURED` calls in one graph; None where the calls were not captured."""

    @property
    def works(self) -> bool:
        """Whether any launch computes: is more than a copy, a memset or a view."""
        return any(not _NOT_WORK.match(name) for name in (*self.first, *self.second))

    @property
    def work(self) -> int:
        """The number of launches that compute, of the call with fewer."""
        return min(_count_work(self.first), _count_work(self.second))

    @property
    def differ(self) -> list[str]:
        """Kernels that only one of the two calls launched."""
        return sorted(set(self.first) ^ set(self.second))

    @property
    def missing_in_graph(self) -> str | None:
        """Whether a graph of several calls launches less than graphs of one call each; None, or one clause."""
        if self.together is None or not self.works:
            return None
        found, wanted = _count_work(self.together), _CAPTURED * max(self.work, 1)
        if found >= wanted:
            return None
        return f"{_CAPTURED} calls in a graph launch {counted(found, 'kernel')} instead of {wanted}"

    def library(self, says: Sequence[str]) -> tuple[str, str] | None:
        """The name of the first kernel that belongs to a library, and the library; None where all are the candidate's.

        `says`: the candidate's name and the libraries that its source declares; kernels of those are not reported.
        """
        claimed = " ".join(says).lower()
        for name in (*self.first, *self.second):
            for library, pattern in _LIBRARIES.items():
                said = any(word in claimed for word in library.lower().split() if len(word) > 3)
                if re.search(pattern, name) and not said:
                    return name, library
        return None


def observe(device: Device, call: Callable[[], Any], *, graph: bool = False) -> Launches | str:
    """The launches of two calls and of a graph of several; where they can't be had, one clause that says why.

    `graph`: whether the race timed the calls in graphs; the nodes of captured graphs are then counted.
    """
    try:
        if isinstance(device, CudaContext) and graph and (listed := _listed(device, call)):
            return listed
        if torch._C._autograd._profiler_enabled():
            return "another profiler is on, which would end as this one does"
        if isinstance(device, CudaContext):
            return Launches(*_profiled(device, [call, call]))
        return Launches(_operators(call), _operators(call))
    except ImportError as error:
        return f"no profiler ({error})"
    except RuntimeError as error:
        device.synchronize()  # raises what a faulted kernel left; else it was the profiler that failed
        return f"the profiler failed ({str(error).splitlines()[0]})"


def _listed(device: CudaContext, call: Callable[[], Any]) -> Launches | None:
    """The launches by captured graphs' nodes; None where the calls can't be captured, or nodes can't be listed."""
    captures = Captures(device)
    found = []
    try:
        for calls in (1, 1, _CAPTURED):
            graph = captures.capture(lambda turn: call(), calls, to_read=True)[0]  # the answer is let go
            found.append(launched_by(graph))
            graph.reset()
    except (Unlisted, TypeError):
        return None
    except (RuntimeError, CandidateError):
        captures.recover()
        return None
    finally:
        captures.close()
    return Launches(*found)


def _count_work(kernels: Mapping[str, int]) -> int:
    return sum(count for name, count in kernels.items() if not _NOT_WORK.match(name))


def _profiled(device: CudaContext, calls: Sequence[Callable[[], Any]]) -> list[dict[str, int]]:
    """What each call launches, in one profiler session for all, since starting and ending one takes 4 ms."""
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile

    with _quiet(), profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for call in calls:
            call()
            torch.cuda.synchronize(device.index)  # so that work on other streams counts as this call's
            device.instruments.null(device.stream)
        torch.cuda.synchronize(device.index)
    events = profiler.profiler.kineto_results.events() if profiler.profiler is not None else ()
    names = [
        event.name()
        for event in sorted(events, key=lambda event: int(event.start_ns()))
        if event.device_type() == DeviceType.CUDA and is_work(event.name())
    ]
    if names.count(_MARK) != len(calls):  # the candidate launches a kernel of that name itself
        return [_profiled(device, [call])[0] for call in calls] if len(calls) > 1 else [dict(Counter(names))]
    found: list[Counter[str]] = [Counter()]
    for name in names:
        if name == _MARK:
            found.append(Counter())
        else:
            found[-1][name] += 1
    return [dict(launched) for launched in found[:-1]]


def is_work(name: str) -> bool:
    """Whether a profiler record of the device is a kernel, copy or memset, and not a wait or a call of the CUDA API."""
    return not re.match(r"(cuda|cu)[A-Z]|Context Sync|Event|Stream", name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the profiler from writing to standard error that it starts and stops, as PyTorch 2.13's does.

    It reads the variable as it starts for the first time.
    """
    own = _LOG_LEVEL not in os.environ
    if own:
        os.environ[_LOG_LEVEL] = _NO_LINES
    try:
        yield
    finally:
        if own:
            os.environ.pop(_LOG_LEVEL, None)


def _operators(call: Callable[[], Any]) -> dict[str, int]:
    """The PyTorch operators that run in a call, in threads of its own too; a host kernel in C++ is none of them.

    By the profiler, and not a dispatch mode: that holds for one thread, and can be left out by a guard.
    """
    from torch._C._profiler import _ExperimentalConfig
    from torch.autograd.profiler import profile

    try:
        config = _ExperimentalConfig(profile_all_threads=True)
    except TypeError:  # PyTorch before 2.7
        config = _ExperimentalConfig()
    with _quiet(), profile(experimental_config=config) as profiler:
        call()
    events = profiler.kineto_results.events() if profiler.kineto_results is not None else ()
    return dict(Counter(event.name() for event in events))
