"""Settings of a real GPU that a candidate leaves changed are named, and put back where they can be."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch

from pytest_kgate.integrity.global_state.gpu_memory import pool_in_use
from pytest_kgate.integrity.global_state.state import GlobalState

pytestmark = pytest.mark.gpu


@pytest.fixture
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


def test_limits_of_the_gpu_are_named_and_put_back(device):
    state = GlobalState(device)
    driver = ctypes.CDLL("libcuda.so.1")
    assert driver.cuCtxSetLimit(6, ctypes.c_size_t(1 << 20)) == 0
    torch.cuda.set_per_process_memory_fraction(0.5)
    told = " ".join(state.restore())
    assert "cudaLimitPersistingL2CacheSize" in told
    assert "memory_fraction" in told
    assert state.restore() == []


def test_access_policy_window_of_the_stream_is_named_and_put_back(device):
    state = GlobalState(device)
    memory = torch.zeros(1 << 20, device="cuda")
    driver = ctypes.CDLL("libcuda.so.1")
    driver.cuCtxSetLimit(6, ctypes.c_size_t(1 << 20))
    window = (ctypes.c_uint64 * 8)(memory.data_ptr(), 1 << 20, 2 << 32 | 0x3F800000, 1)
    assert driver.cuStreamSetAttribute(ctypes.c_void_p(device.stream.cuda_stream), 1, ctypes.byref(window)) == 0
    assert "access policy window" in " ".join(state.restore())
    assert state.restore() == []


def test_pool_that_the_allocator_was_left_with_is_named_and_left(device):
    state = GlobalState(device)
    pool = torch.cuda.MemPool()
    torch._C._cuda_beginAllocateCurrentThreadToPool(0, pool.id)  # use_mem_pool, were it never left
    (told,) = state.restore()
    assert told.startswith("the pool of PyTorch's allocator: (0, 0) -> ")
    assert told.endswith("it was put back")
    assert pool_in_use(0) == (0, 0)


def test_settings_of_the_allocator_are_named(device):
    state = GlobalState(device)
    torch.cuda.memory._set_allocator_settings("expandable_segments:True")
    try:
        (told,) = state.restore()
    finally:
        torch.cuda.memory._set_allocator_settings("expandable_segments:False")
    assert "expandable_segments False" in told
    assert told.endswith("it can't be put back")


def test_order_of_attention_kernels_is_named_and_put_back(device):
    state = GlobalState(device)
    before = torch._C._get_sdp_priority_order()
    torch._C._set_sdp_priority_order(before[::-1])
    (told,) = state.restore()
    assert told.startswith("torch.nn.attention.sdpa_kernel's order: ")
    assert torch._C._get_sdp_priority_order() == before


FIRST_ATTENTION = """
import torch
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.integrity.global_state.state import GlobalState

device = CudaDevice(0)
unused = torch._C._get_sdp_priority_order()
state = GlobalState(device)
one = torch.randn(1, 1, 64, 64, dtype=torch.float16, device="cuda")
torch.nn.functional.scaled_dot_product_attention(one, one, one)
print(unused, torch._C._get_sdp_priority_order(), state.restore())
"""


def test_first_attention_of_a_process_changes_nothing():
    """PyTorch puts cuDNN's kernel first at the first call: whose it is, is chance."""
    ended = subprocess.run([sys.executable, "-c", FIRST_ATTENTION], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith(" []\n"), ended.stdout


def test_graph_that_keeps_much_memory_is_named_and_one_that_is_gone_is_not(device):
    torch.cuda.empty_cache()
    state = GlobalState(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.empty(int(0.3 * torch.cuda.get_device_properties(0).total_memory), dtype=torch.uint8, device="cuda")
    (told,) = state.restore()
    assert told.startswith("memory: ")
    graph.reset()
    assert state.restore() == []
