"""Global settings of the process and the GPU that change what is measured: read before, compared after, restored.

A candidate that changes one of them for itself changes it for the reference and for later tests, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.integrity.global_state import gpu_memory
from pytest_kgate.integrity.global_state import of_malloc
from pytest_kgate.integrity.global_state.of_gpu import of_gpu
from pytest_kgate.integrity.global_state.of_process import of_process
from pytest_kgate.integrity.global_state.of_python import of_python
from pytest_kgate.integrity.global_state.of_torch import of_torch
from pytest_kgate.integrity.global_state.setting import Setting
from pytest_kgate.integrity.isolation.process.judge.settings import ThreadsSettings

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_PLACES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")

_MANY_ELEMENTS = 1 << 20
"""Of a fill, which PyTorch shares among its workers."""


class GlobalState:
    """The settings as they were when this was made, of the process and of one device."""

    def __init__(self, device: Device) -> None:
        of_device = of_gpu(device) if isinstance(device, CudaContext) else ()
        malloc = of_malloc.of_malloc()
        self._settings = [*malloc, *of_process(), *of_python(), *of_torch(), *of_device]
        self._before = {setting.name: _value(setting) for setting in self._settings}
        self._memory = _memory_of(device)
        self._threads = _scheduling()
        self.slow_before = of_malloc.set_before({setting.name: self._before[setting.name] for setting in malloc})
        """What slows the reference down already, as a sentence; None where nothing is known to."""

    def restore(self, *, slow: bool = True) -> list[str]:
        """Restore what has changed; one clause for each, such as `torch.get_num_threads: 8 -> 1; it was put back`.

        `slow`: whether to compare settings that take milliseconds to read as well.
        """
        changed = self._restored([one for one in self._settings if not one.harmless and (slow or not one.slow)])
        if self._threads is not None:
            changed += self._threads.restore(new_threads=False)  # a candidate may place threads of its own
        left = self._memory.growth() if self._memory is not None else None
        return [*changed, f"memory: {left}"] if left else changed

    def restore_harmless(self) -> list[str]:
        """As `restore`, of what no measurement depends on, such as the working directory."""
        return self._restored([one for one in self._settings if one.harmless])

    def _restored(self, settings: Sequence[Setting]) -> list[str]:
        changed = []
        for setting in settings:
            before, now = self._before[setting.name], _value(setting)
            if now == before or (setting.may_be_untold and None in (before, now)):
                continue
            if setting.write is not None:
                with contextlib.suppress(Exception):
                    setting.write(before)
            put_back = "it was put back" if _value(setting) == before else "it can't be put back"
            changed.append(f"{setting.name}: {_difference(before, now)}; {put_back}")
        return changed


def _scheduling() -> ThreadsSettings | None:
    """Of all threads, PyTorch's workers among them, which do a part of the reference's work.

    The workers of a kernel that was tested before are left out: who has placed them may place them elsewhere. Where
    OpenMP was told to place threads, it may place its workers anew whenever their number changes: then of the main
    thread alone. None where threads have no settings of their own.
    """
    if sys.platform != "linux":
        return None
    placed = _places_threads()
    if not placed:
        _start_workers(os.getpid(), torch.get_num_threads())
    return ThreadsSettings(only_main=placed, but_placed=True)


def _places_threads() -> bool:
    """Whether OpenMP was told to; it reads its variables once, so that they are asked for only where it can't be."""
    tells = getattr(ctypes.CDLL(None), "omp_get_proc_bind", None)
    return bool(tells()) if tells is not None else any(name in os.environ for name in _PLACES)


@functools.cache
def _start_workers(process: int, threads: int) -> None:
    """Have PyTorch start its workers, which must be there to be compared; a fork has none of its parent's."""
    torch.zeros(_MANY_ELEMENTS)


def _memory_of(device: Device) -> gpu_memory.MemoryBaseline | None:
    if not isinstance(device, CudaContext) or torch.cuda.get_allocator_backend() == "cudaMallocAsync":
        return None  # that allocator keeps no list of its blocks
    return gpu_memory.MemoryBaseline(device.index)


def _difference(before: Any, now: Any) -> str:
    """Of two values; of two tables of registered functions, how many there were and are under the names that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        differ = [name for name in now if now[name] != before.get(name)]
        return ", ".join(f"{name} {len(before.get(name, ()))} -> {len(now[name])}" for name in differ)
    return f"{before} -> {now}"


def _value(setting: Setting) -> Any:
    try:
        return setting.read()
    except Exception as error:  # of another version of PyTorch or of the driver: nothing to compare
        return type(error).__name__
