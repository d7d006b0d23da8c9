"""Global settings of the process and the GPU that change what is measured: read before, compared after, restored.

A candidate that changes one of them for itself changes it for the reference and for later tests, too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.integrity import gpu_memory
from pytest_kgate.integrity.isolation.process.judge.settings import ThreadsSettings
from pytest_kgate.integrity.tampering import tracing

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_PLACES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")

_MANY_ELEMENTS = 1 << 20
"""Of a fill, which PyTorch shares among its workers."""


@dataclass(frozen=True)
class Setting:
    """One setting that a candidate may not leave changed."""

    name: str
    """The name under which its documentation has it."""
    read: Callable[[], Any]
    write: Callable[[Any], Any] | None
    """Restores a value; None where that can't be done, or would not help."""
    slow: bool = False
    """Whether reading takes milliseconds; it is then compared only after the race, not after each phase."""


class GlobalState:
    """The settings as they were when this was made, of the process and of one device."""

    def __init__(self, device: Device) -> None:
        self._settings = [*_of_python(), *of_torch(), *(_of_gpu(device) if isinstance(device, CudaContext) else ())]
        self._before = {setting.name: _value(setting) for setting in self._settings}
        self._memory = _memory_of(device)
        self._threads = _scheduling()

    def restore(self, *, slow: bool = True) -> list[str]:
        """Restore what has changed; one clause for each, such as `torch.get_num_threads: 8 -> 1; it was put back`.

        `slow`: whether to compare settings that take milliseconds to read as well.
        """
        changed = []
        for setting in self._settings:
            if setting.slow and not slow:
                continue
            before, now = self._before[setting.name], _value(setting)
            if now == before:
                continue
            if setting.write is not None:
                with contextlib.suppress(Exception):
                    setting.write(before)
            put_back = "it was put back" if _value(setting) == before else "it can't be put back"
            changed.append(f"{setting.name}: {_difference(before, now)}; {put_back}")
        if self._threads is not None:
            changed += self._threads.restore(new_threads=False)  # a candidate may place threads of its own
        left = self._memory.growth() if self._memory is not None else None
        return [*changed, f"memory: {left}"] if left else changed


def _scheduling() -> ThreadsSettings | None:
    """Of all threads, PyTorch's workers among them, which do a part of the reference's work.

    The workers of a kernel that was tested before are left out: who has placed them may place them elsewhere.

    None where OpenMP was told to place threads, which it may do anew whenever their number changes.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _PLACES):
        return None
    torch.zeros(_MANY_ELEMENTS)  # starts the workers, which must be there to be compared
    return ThreadsSettings(but_placed=True)


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


def _of_python() -> list[Setting]:
    found = [
        Setting("gc.isenabled", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("sys.getswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
        Setting("sys.gettrace", sys.gettrace, sys.settrace),
        Setting("sys.getprofile", sys.getprofile, sys.setprofile),
        Setting("sys.monitoring", tracing.monitoring, None),
    ]
    if hasattr(os, "sched_getaffinity"):
        found.append(
            Setting(
                "os.sched_getaffinity", lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)
            )
        )
    if hasattr(os, "getpriority"):
        found.append(Setting("os.getpriority", lambda: os.getpriority(os.PRIO_PROCESS, 0), None))
    return found


def _module_hooks() -> dict[str, dict[Any, Any]]:
    """The hooks that PyTorch calls around every module: a reference that is a module pays for them."""
    known = vars(torch.nn.modules.module)
    return {name: dict(known[name]) for name in known if name.startswith("_global_") and isinstance(known[name], dict)}


def _set_module_hooks(hooks: Mapping[str, Mapping[Any, Any]]) -> None:
    for name, wanted in hooks.items():
        registered = getattr(torch.nn.modules.module, name)
        registered.clear()
        registered.update(wanted)


def of_torch() -> list[Setting]:
    """The settings of PyTorch in this process."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    precision: Mapping[str, tuple[Any, str]] = {
        "torch.backends.cudnn.benchmark": (cudnn, "benchmark"),
        "torch.backends.cudnn.deterministic": (cudnn, "deterministic"),
        "torch.backends.cudnn.enabled": (cudnn, "enabled"),
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": (
            cuda.matmul,
            "allow_fp16_reduced_precision_reduction",
        ),
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": (
            cuda.matmul,
            "allow_bf16_reduced_precision_reduction",
        ),
    }
    return [
        Setting("torch.get_default_dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch.get_default_device", torch.get_default_device, torch.set_default_device),
        Setting("torch.get_num_threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "torch.get_float32_matmul_precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        Setting(
            "torch.are_deterministic_algorithms_enabled",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        Setting("torch.compiler.set_stance", _compiler_stance, torch.compiler.set_stance),
        Setting("torch.nn.modules.module's global hooks", _module_hooks, _set_module_hooks),
        Setting("torch.is_autocast_enabled", lambda: _autocast(), None),
        Setting("torch.set_flush_denormal", _flushes_denormals, torch.set_flush_denormal),
        Setting("torch.backends.mkldnn.enabled", lambda: torch.backends.mkldnn.enabled, _set_mkldnn),
        Setting("torch.backends.cuda.flash_sdp_enabled", cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        Setting("torch.backends.cuda.math_sdp_enabled", cuda.math_sdp_enabled, cuda.enable_math_sdp),
        Setting(
            "torch.backends.cuda.mem_efficient_sdp_enabled",
            cuda.mem_efficient_sdp_enabled,
            cuda.enable_mem_efficient_sdp,
        ),
        Setting("torch.backends.cuda.cudnn_sdp_enabled", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        *(Setting(name, _reader(owner, field), _writer(owner, field)) for name, (owner, field) in precision.items()),
    ]


def _compiler_stance() -> str:
    """Whether compiled functions are run as such, for everyone; not loaded for it."""
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")
    return str(eval_frame._stance.stance) if eval_frame is not None else "default"


def _autocast() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0


def _set_mkldnn(on: bool) -> None:
    torch.backends.mkldnn.set_flags(on)


def _reader(owner: Any, field: str) -> Callable[[], Any]:
    return lambda: getattr(owner, field)


def _writer(owner: Any, field: str) -> Callable[[Any], None]:
    return lambda value: setattr(owner, field, value)


def _of_gpu(device: CudaContext) -> list[Setting]:
    index = device.index
    stream = int(device.stream.cuda_stream)
    limits = driver.bindings().CUlimit
    persisting, fetched = limits.CU_LIMIT_PERSISTING_L2_CACHE_SIZE, limits.CU_LIMIT_MAX_L2_FETCH_GRANULARITY
    return [
        Setting("torch.cuda.current_device", torch.cuda.current_device, torch.cuda.set_device),
        Setting("torch.cuda.current_stream", lambda: torch.cuda.current_stream(index), torch.cuda.set_stream),
        Setting(
            "torch.cuda.get_per_process_memory_fraction",
            lambda: torch.cuda.get_per_process_memory_fraction(index),
            lambda share: torch.cuda.set_per_process_memory_fraction(share, index),
        ),
        Setting(
            "the pool of PyTorch's allocator",
            lambda: gpu_memory.pool_in_use(index),
            lambda _: gpu_memory.stop_using_pool(index),
        ),
        Setting("the settings of PyTorch's allocator", gpu_memory.settings, None),
        Setting(
            "the limit cudaLimitPersistingL2CacheSize",
            lambda: _limit(persisting),
            lambda size: _set_persisting_l2(persisting, size),
        ),
        Setting(
            "the limit cudaLimitMaxL2FetchGranularity",
            lambda: _limit(fetched),
            lambda size: _set_limit(fetched, size),
        ),
        Setting("the stream's access policy window", lambda: _window_bytes(stream), lambda _: _clear_window(stream)),
        Setting("the GPU's clock and power limits", lambda: _clock_limits(index), None, slow=True),
    ]


def _clock_limits(index: int) -> Any:
    import pynvml

    from pytest_kgate.device.cuda.nvml import gpu_uuid
    from pytest_kgate.device.cuda.nvml import handle_of

    pynvml.nvmlInit()
    handle = handle_of(gpu_uuid(index))
    readings = (
        lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
        lambda: pynvml.nvmlDeviceGetApplicationsClock(handle, pynvml.NVML_CLOCK_SM),
        lambda: pynvml.nvmlDeviceGetApplicationsClock(handle, pynvml.NVML_CLOCK_MEM),
        lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle),
    )
    found: list[int | None] = []
    for read in readings:
        try:
            found.append(read())  # type: ignore[no-untyped-call]
        except (pynvml.NVMLError, AttributeError):  # of a GPU, or a version of the bindings, that has none
            found.append(None)
    return tuple(found)


def _limit(which: Any) -> int:
    return int(driver.call("cuCtxGetLimit", which))


def _set_limit(which: Any, size: int) -> None:
    driver.call("cuCtxSetLimit", which, size)


def _set_persisting_l2(which: Any, size: int) -> None:
    _set_limit(which, size)
    driver.call("cuCtxResetPersistingL2Cache")


def _window_bytes(stream: int) -> int:
    """The size of the stream's window; 0 for none."""
    return int(driver.call("cuStreamGetAttribute", stream, _access_policy()).accessPolicyWindow.num_bytes)


def _clear_window(stream: int) -> None:
    driver.call("cuStreamSetAttribute", stream, _access_policy(), driver.bindings().CUstreamAttrValue())


def _access_policy() -> Any:
    return driver.bindings().CUstreamAttrID.CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
