from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import ptxas
from pytest_kgate.build.compiler import recipe

LOG = """\
ptxas info    : 0 bytes gmem, 24 bytes cmem[4]
ptxas info    : Compiling entry function '_ZN5kgate4attnILi128E6__halfEEvPT0_' for 'sm_90a'
ptxas info    : Function properties for _ZN5kgate4attnILi128E6__halfEEvPT0_
    64 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 64 bytes cumulative stack size, 512 bytes smem, 400 bytes cmem[0]
ptxas info    : Compile time = 19.417 ms
ptxas warning : Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Compiling entry function 'plain' for 'sm_90a'
ptxas info    : Function properties for plain
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""
OUTLINED = """\
ptxas info    : Function properties for _Z5outerPf
    0 bytes stack frame, 100 bytes spill stores, 200 bytes spill loads
"""
KERNELS = """
#include "sdpa.h"
namespace mine {
template <int D> __global__ void stage(float* p) {
    __shared__ float tile[D];
    tile[threadIdx.x] = p[threadIdx.x];
    __syncthreads();
    p[threadIdx.x] = tile[D - 1 - threadIdx.x];
}
__global__ void __launch_bounds__(1024, 2) spills(float* p) {
    float a[128];
    #pragma unroll
    for (int i = 0; i < 128; ++i) a[i] = p[i * threadIdx.x];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 128; ++i) p[i * threadIdx.x + 1] = a[i] * a[127 - i];
}
}
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {
    mine::stage<64><<<1, 64>>>(static_cast<float*>(args->o));
    mine::stage<256><<<1, 256>>>(static_cast<float*>(args->o));
    mine::spills<<<1, 1024>>>(static_cast<float*>(args->o));
    return 0;
}
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""


def test_every_kernel_of_a_report_is_read() -> None:
    half, plain = ptxas.parse(LOG, demangle=list)
    assert half == ptxas.Resources("_ZN5kgate4attnILi128E6__halfEEvPT0_", 168, 512, 64, 8, 12, "sm_90a")
    assert half.spill_bytes == 20
    assert plain == ptxas.Resources("plain", 10, 0, 0, 0, 0, "sm_90a")


def test_spills_of_a_function_that_was_not_inlined_are_not_hidden() -> None:
    assert [kernel.spill_bytes for kernel in ptxas.parse(LOG + OUTLINED, demangle=list)] == [320, 300]


def test_lines_that_a_source_has_the_compiler_print_make_no_kernel_smaller() -> None:
    printed = """\
plain.cu:2:157: note: '#pragma message:
ptxas info    : Used 4 registers, used 0 barriers, 0 bytes smem
ptxas info    : Compiling entry function '_ZN5kgate4attnILi128E6__halfEEvPT0_' for 'sm_90a'
ptxas info    : Function properties for _ZN5kgate4attnILi128E6__halfEEvPT0_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers'
"""
    assert ptxas.parse(LOG + printed, demangle=list) == ptxas.parse(LOG, demangle=list)


def test_a_log_without_kernels_has_no_resources() -> None:
    assert ptxas.parse("warning: unused variable\n") == ()


def test_names_stay_mangled_where_no_demangler_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ptxas.demangled(["_Z5outerPf"]) == ["_Z5outerPf"]


def test_the_report_survives_the_cache_and_json() -> None:
    for kernel in ptxas.parse(LOG):
        assert ptxas.Resources.from_dict(kernel.to_dict()) == kernel
        assert kernel.to_dict()["spill_bytes"] == kernel.spill_bytes


def test_the_report_of_a_real_nvcc_run(tmp_path: Path, empty_cache: Path, nvcc: None) -> None:
    (tmp_path / "mine.cu").write_text(KERNELS)
    how = recipe.recipe(registry.find_source(tmp_path / "mine.cu"), {}, arch="sm_80")
    built = ninja.build(how)
    found = {kernel.kernel.replace(" ", ""): kernel for kernel in built.resources}
    assert len(found) == 3
    small, large, spills = (next(k for n, k in found.items() if part in n) for part in ("64", "256", "spills"))
    assert (small.shared_bytes, large.shared_bytes) == (256, 1024)
    assert 0 < small.registers <= 255
    assert small.spill_bytes == 0
    assert spills.spill_store_bytes > 0
    assert spills.registers == 32
    assert {kernel.arch for kernel in built.resources} == {built.arch} == {"sm_80"}
    assert ninja.build(how).resources == built.resources, "from the cache"
