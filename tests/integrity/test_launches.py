"""Names of libraries' kernels are known, and names of one's own are not mistaken for them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate.build import vendor_libraries
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.launches.graph_nodes import demangled
from pytest_kgate.integrity.launches.observed import Launches
from pytest_kgate.integrity.launches.observed import is_work
from pytest_kgate.integrity.launches.observed import observe
from pytest_kgate.report.record.document import load


def seen(*names):
    return Launches(dict.fromkeys(names, 1), dict.fromkeys(names, 1))


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x64x64", "cuDNN"),
        ("sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1", "cuBLAS"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "cuBLAS"),
        ("ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x4_tn", "cuBLAS"),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_f16_s161616gemm_f16_16x16_128x2_tn_align8>", "cuBLAS"),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128>>", "PyTorch's attention"),
        ("fmha_cutlassF_f16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)", "PyTorch's attention"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>", "PyTorch's operators"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "PyTorch's attention"),
        ("aten::bmm", "PyTorch's operators"),
        ("aten::_softmax", "PyTorch's operators"),
    ],
)
def test_library_kernel_is_known_by_its_name(name, library):
    assert seen("my_kernel", name).library(["mine"]) == (name, library)


@pytest.mark.parametrize(
    "name",
    [
        "attention_forward<__half, 64, 128>(kgate::SdpaArgs)",
        "(anonymous namespace)::attention_row(kgate::SdpaArgs)",
        "void cutlass::device_kernel<MyAttention<cute::tuple<cute::C<128>>>>",
        "wmma_flash_kernel",
        "Memset (Device)",
        "aten::empty_like",
    ],
)
def test_own_kernel_is_not_mistaken_for_a_librarys(name):
    assert seen(name).library(["mine"]) is None


@pytest.mark.parametrize("says", [["cublas(BLOCK=1)"], ["hybrid_pv", "cublas"]], ids=str)
def test_candidate_that_says_which_library_it_calls_may_call_it(says):
    assert seen("nvjet_hsh_128x256_64x4").library(says) is None


def test_copies_and_settings_of_memory_are_no_work():
    assert not seen("Memcpy DtoD (Device -> Device)", "Memset (Device)").works
    assert seen("my_kernel").works


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", True),
        ("cutlass_kernel", True),
        ("void my_kernel<64>(float*)", True),
        ("cudaStreamSynchronize", False),
        ("cuLaunchKernelEx", False),
        ("Context Sync", False),
    ],
)
def test_kernels_are_told_from_calls_of_the_driver(name, kept):
    assert bool(is_work(name)) is kept


def test_operators_on_the_host_are_counted():
    q = torch.randn(1, 1, 8, 8)
    found = observe(HostDevice(), lambda: F.scaled_dot_product_attention(q, q, q))
    assert found.library(["mine"]) is not None
    assert found.differ == []


def elsewhere(call):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def without_modes(call):
    with torch._C._DisableTorchDispatch():
        return call()


@pytest.mark.parametrize("hidden", [elsewhere, without_modes])
def test_operators_that_hide_from_dispatch_modes_are_counted(hidden):
    q = torch.randn(1, 1, 8, 8)
    found = observe(HostDevice(), lambda: hidden(lambda: F.scaled_dot_product_attention(q, q, q)))
    assert found.library(["mine"]) == ("aten::scaled_dot_product_attention", "PyTorch's attention")


def test_two_calls_that_launch_different_things_differ():
    assert Launches({"a": 1, "b": 1}, {"a": 2}).differ == ["b"]


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (b"_ZN5kgate9attentionILi64EEEvPKfS2_", "void kgate::attention<64>(float const*, float const*)"),
        (b"_ZN2at6native4fillEv", "at::native::fill()"),
        (b"nvjet_hsh_128x256_64x4", "nvjet_hsh_128x256_64x4"),
        (b"", ""),
    ],
)
def test_symbols_are_read_as_cpp(symbol, name):
    assert demangled(symbol) == name


def test_calls_that_launch_less_in_a_row_are_said():
    alone = {"mine": 2, "Memset": 1}
    assert Launches(alone, alone, {"mine": 6, "Memset": 3}).missing_in_graph is None
    assert Launches(alone, alone, {"mine": 4}).missing_in_graph == "3 calls in a graph launch 4 kernels instead of 6"
    assert Launches(alone, alone).missing_in_graph is None
    assert Launches({"mine": 1}, {}, {}).missing_in_graph == "3 calls in a graph launch 0 kernels instead of 3"
    assert Launches({}, {}, {}).missing_in_graph is None


def test_library_that_runs_anothers_kernels_is_taken_at_its_word():
    """On Hopper cuTENSOR runs kernels of cuBLAS, as the record of its gates shows."""
    records = load(Path(__file__).parents[2] / "benchmarks" / "h200" / "perf-2026-11-21.json")
    records = [record for record in records if record["candidate"]["name"] == "cutensor"]
    assert len(records) == 2
    for record in records:
        ran = seen(*record["integrity"]["kernels"])
        assert ran.library(["mine"])[1] == "cuBLAS"
        assert ran.library(["cutensor", "cutensor"])[1] == "cuBLAS"
        assert ran.library(["cutensor", *vendor_libraries.with_theirs(("cutensor",))]) is None


def test_looking_at_operators_writes_nothing(warm):
    """A process that has not profiled yet: the profiler asks once whether it is to say that it starts."""
    code = """
import os, torch
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.launches.observed import observe
print(observe(HostDevice(), lambda: torch.softmax(torch.ones(8), 0)), "KINETO_LOG_LEVEL" in os.environ)
"""
    run = subprocess.run([warm, "-c", code], capture_output=True, text=True, timeout=60)
    assert "aten::softmax" in run.stdout, run.stderr
    assert run.stdout.endswith("False\n")
    assert run.stderr == ""


def test_profiler_that_is_on_is_left_on():
    with torch.profiler.profile():
        found = observe(HostDevice(), lambda: torch.softmax(torch.ones(8), 0))
        assert torch._C._autograd._profiler_enabled()
    assert found == "another profiler is on, which would end as this one does"
