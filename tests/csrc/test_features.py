"""What kernels declare, and what others are given: grouped heads as batches whose heads share their keys, or a refusal.

Most CUDA kernels compute plain attention; of these, all but one take heads that share their keys. Three declare more.
"""

from __future__ import annotations

import pytest
import torch
from parity import EIGHT_BITS
from parity import HOPPER
from parity import PLAIN
from parity import TOLERANCE
from parity import WIDER
from parity import draw
from parity import loaded

from pytest_kgate import Shape
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import recipe
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.library import open_library
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.profile.resources.plan import Refused
from pytest_kgate.profile.resources.plan import plan

SHARING = [name for name in PLAIN if name != "cutensor"]
"""CUDA kernels that take heads which share their keys: cuTENSOR takes no stride of 0."""

SHARES = """
#include "sdpa.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    if (a->kv_heads != a->heads || a->k_stride[1] != 0 || a->v_stride[1] != 0) return -1;
    for (int b = 0; b < a->batch; ++b)
        for (int h = 0; h < a->heads; ++h) {  // one query and one key: the answer is the value, the sum q * k
            const int64_t* s = a->k_stride;
            const float k = static_cast<const float*>(a->k)[b * s[0] + h * s[1]];
            const float q = static_cast<const float*>(a->q)[b * a->q_stride[0] + h * a->q_stride[1]];
            const float v = static_cast<const float*>(a->v)[b * a->v_stride[0] + h * a->v_stride[1]];
            static_cast<float*>(a->o)[b * a->o_stride[0] + h * a->o_stride[1]] = v;
            if (a->lse) a->lse[b * a->lse_stride[0] + h * a->lse_stride[1]] = a->scale * q * k;
        }
    return 0;
}
KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::SharedHeads | kgate::Lse; }
KGATE_EXPORT const char* kgate_message(void) { return "It was given heads that share nothing."; }
"""


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """A kernel that takes a head stride of 0, and knows of no groups."""
    path = tmp_path_factory.mktemp("shares") / "shares.cpp"
    path.write_text(SHARES)
    return load_kernel(path)


@pytest.mark.parametrize(("batch", "kv_heads"), [(1, 3), (2, 3), (2, 1), (1, 1)])
def test_grouped_heads_are_given_as_batches_whose_heads_share_their_keys(shares, batch, kv_heads):
    q, k, v = draw((batch, kv_heads * 4, kv_heads, 1, 1, 1))
    out, lse = shares(q, k, v, return_lse=True)
    assert torch.equal(out, v.repeat_interleave(4, 1))
    assert torch.equal(lse, (q * k.repeat_interleave(4, 1))[..., 0])


def test_groups_need_no_batch_stride_where_there_is_one_batch_or_one_group(shares):
    for batch, kv_heads in ((1, 3), (2, 1)):
        q, k, v = (torch.cat([t, t], 1)[:, : t.shape[1]] for t in draw((batch, kv_heads * 4, kv_heads, 1, 1, 1)))
        assert torch.equal(shares(q, k, v), v.repeat_interleave(4, 1))


@pytest.mark.parametrize("which", ["q", "k", "v", "out"])
def test_grouped_heads_that_no_stride_leads_through_are_refused(shares, which):
    tensors = dict(zip("qkv", draw((2, 12, 3, 1, 1, 1)), strict=True))
    tensors["out"] = torch.full_like(tensors["q"], 7.0)
    tensors[which] = torch.cat([tensors[which], tensors[which]], 1)[:, : tensors[which].shape[1]]
    with pytest.raises(UsageError, match=r"takes grouped heads as more batches, .*\nPass tensors that"):
        shares(**tensors)
    assert bool((tensors["out"] == 7.0).all())


REFUSED = {
    "kv_heads": (4, "grouped heads"),
    "kv_seqlen": (100, "another number of keys than of queries"),
    "window": (16, "attention window"),
    "softcap": (20.0, "softcap"),
    "bias": (4096, "bias"),
    "lse": (4096, "log-sum-exp"),
}


@pytest.fixture(scope="module")
def libraries():
    """The CUDA kernels, by name: for the first architecture that each is for; no GPU is needed, but nvcc is."""
    names = [*PLAIN, *WIDER, *EIGHT_BITS]
    arches = ["sm_90a" if name in HOPPER else "sm_80" for name in names]
    try:
        recipes = [
            recipe.recipe(registry.find_source(name), {}, arch=arch) for name, arch in zip(names, arches, strict=True)
        ]
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    return {name: built.path for name, built in zip(names, ninja.build_many(recipes), strict=True)}


@pytest.mark.parametrize("impl", PLAIN)
def test_cuda_kernel_declares_shared_heads_and_refuses_what_it_does_not_compute(impl, libraries):
    assert open_library(libraries[impl], impl).features == (2 if impl in SHARING else 0)
    assert registry.find_source(impl).features == (("SharedHeads",) if impl in SHARING else ())
    assert plan(libraries[impl], Shape(2, 8, 128, 64), "float16", 108)
    for field, (value, name) in REFUSED.items():
        with pytest.raises(Refused, match=f"can't be asked for: {name}. Use one that declares it"):
            plan(libraries[impl], Shape(2, 8, 128, 64), "float16", 108, **{field: value})


OF_MORE = ("GroupedHeads", "KvSeqlen", "Lse")


@pytest.mark.parametrize(
    ("impl", "dtype", "declared"),
    [*((impl, "float16", OF_MORE) for impl in WIDER), ("fp8", "float8_e4m3fn", (*OF_MORE, "EightBits"))],
)
def test_cuda_kernel_that_declares_more_plans_it_and_refuses_the_rest(impl, dtype, declared, libraries):
    assert registry.find_source(impl).features == declared
    assert open_library(libraries[impl], impl).features == (197 if impl == "fp8" else 69)
    shape = Shape(2, 8, 128, 64)
    for field, (value, name) in REFUSED.items():
        if field in ("kv_heads", "kv_seqlen", "lse"):
            assert plan(libraries[impl], shape, dtype, 132, **{field: value})
        else:
            with pytest.raises(Refused, match=f"can't be asked for: {name}. Use one that declares it"):
                plan(libraries[impl], shape, dtype, 132, **{field: value})


def test_kernels_of_16_and_of_8_bits_refuse_each_others_elements(libraries):
    for impl in (*PLAIN, *WIDER):
        with pytest.raises(Refused, match=r"can't be asked for: float8_e4m3fn tensors. Use one"):
            plan(libraries[impl], Shape(1, 2, 128, 64), "float8_e4m3fn", 132)
    with pytest.raises(Refused, match="fp8 takes float8_e4m3fn tensors alone"):
        plan(libraries["fp8"], Shape(1, 2, 128, 64), "float16", 132)


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("head_dim", [64, 96, 128])
@pytest.mark.parametrize("impl", [*SHARING, *WIDER])
def test_cuda_kernel_takes_grouped_heads(impl, head_dim):
    kernel = loaded(impl)
    for batch, heads, kv_heads, rows in ((1, 8, 2, 300), (3, 8, 2, 65), (2, 8, 1, 1000), (2, 4, 4, 128), (1, 16, 8, 1)):
        q, k, v = draw((batch, heads, kv_heads, rows, rows, head_dim), "float16", "cuda")
        for causal in (False, True):
            wanted = exact_attention(q, k, v, is_causal=causal)
            error = (kernel(q, k, v, is_causal=causal).double() - wanted).abs().max()
            assert float(error) <= TOLERANCE["float16"], (batch, heads, kv_heads, rows, causal)


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", [*SHARING, *WIDER])
def test_cuda_kernel_takes_interleaved_groups_of_one_batch(impl):
    kernel = loaded(impl)
    q, k, v = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in draw((1, 8, 2, 300, 300, 64), "float16", "cuda"))
    wanted = exact_attention(q, k, v)
    assert float((kernel(q, k, v).double() - wanted).abs().max()) <= TOLERANCE["float16"]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", PLAIN)
def test_cuda_kernel_is_asked_for_nothing_that_it_has_not_declared(impl):
    kernel = loaded(impl)
    q, k, v = draw((1, 8, 8, 64, 64, 64), "float16", "cuda")
    for problem in ({"window": 9}, {"softcap": 3.0}, {"return_lse": True}, {"bias": q.new_zeros(1, 1, 64, 64)}):
        with pytest.raises(CandidateError, match="can't be asked for"):
            kernel(q, k, v, **problem)
    with pytest.raises(CandidateError, match="another number of keys"):
        kernel(q, k[:, :, :40], v[:, :, :40])
    if impl not in SHARING:
        with pytest.raises(CandidateError, match="grouped heads"):
            kernel(q, k[:, :2], v[:, :2])
