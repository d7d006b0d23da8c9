"""Settings of a GPU, and of the CUDA context that candidate and reference share."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch

from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.integrity.global_state import gpu_memory
from pytest_kgate.integrity.global_state.setting import Setting


def of_gpu(device: CudaContext) -> list[Setting]:
    """The settings of this device."""
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
            "torch.nn.attention.sdpa_kernel's order",
            _attention_order,
            lambda order: torch._C._set_sdp_priority_order(order),
        ),
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


def _attention_order() -> list[int]:
    """The order in which PyTorch tries its kernels for attention on a GPU."""
    _settle_attention_order()
    order: list[int] = torch._C._get_sdp_priority_order()
    return order


@functools.cache
def _settle_attention_order() -> None:
    """Have PyTorch choose a kernel once, launching none.

    At the first choice of a process it puts cuDNN's first where the GPU is one of those that it prefers it on. That is
    no change by whoever happens to make it, and put back, it would never be made again.
    """
    with contextlib.suppress(RuntimeError, AttributeError):  # all kernels are turned off, or are chosen otherwise
        one = torch.empty(1, 1, 1, 8, dtype=torch.float16, device="cuda")
        torch._fused_sdp_choice(one, one, one)


def _clock_limits(index: int) -> Any:
    import pynvml

    from pytest_kgate.device.cuda.nvml.state import gpu_uuid
    from pytest_kgate.device.cuda.nvml.state import handle_of

    pynvml.nvmlInit()
    handle = handle_of(gpu_uuid(index))
    readings = (
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
