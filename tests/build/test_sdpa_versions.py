"""Kernels built against older versions of csrc/sdpa.h run unchanged, and are asked for nothing that they ignore."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch

from pytest_kgate.build import kernel
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import CandidateError

VERSION_1 = Path(__file__).parents[1] / "support" / "sdpa_version_1.h"
"""As it was before versions had numbers, when SdpaArgs had 176 bytes."""
VERSION_2 = VERSION_1.with_name("sdpa_version_2.h")
"""As it was when it had grouped heads, other numbers of keys and the log-sum-exp, and no feature for 8 bits."""

ATTENTION = """
#include "sdpa.h"
#include <cmath>
#include <vector>
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    const auto at = [&](auto* base, const int64_t* stride, int b, int h, int row) {
        return base + b * stride[0] + h * stride[1] + row * stride[2];
    };
    const float *q = (const float*)a->q, *k = (const float*)a->k, *v = (const float*)a->v;
    std::vector<float> weight(a->seqlen);
    for (int b = 0; b < a->batch; ++b)
        for (int h = 0; h < a->heads; ++h)
            for (int i = 0; i < a->seqlen; ++i) {
                const int keys = a->causal ? i + 1 : a->seqlen;
                float sum = 0;
                for (int j = 0; j < keys; ++j) {
                    float logit = 0;
                    for (int d = 0; d < a->head_dim; ++d)
                        logit += at(q, a->q_stride, b, h, i)[d] * at(k, a->k_stride, b, h, j)[d];
                    sum += weight[j] = std::exp(a->scale * logit);
                }
                for (int d = 0; d < a->head_dim; ++d) {
                    float value = 0;
                    for (int j = 0; j < keys; ++j) value += weight[j] * at(v, a->v_stride, b, h, j)[d];
                    at((float*)a->o, a->o_stride, b, h, i)[d] = value / sum;
                }
            }
    return 0;
}
KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* a) { return a->seqlen; }
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""
"""Legal for every version of the header."""

GROUPS = """
#include "sdpa.h"
#include <cmath>
#include <vector>
static_assert(KGATE_SDPA_VERSION == VERSION, "built against another header");
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    const auto at = [&](auto* base, const int64_t* stride, int b, int h, int row) {
        return (float*)base + b * stride[0] + h * stride[1] + row * stride[2];
    };
    std::vector<float> weight(a->kv_seqlen);
    for (int b = 0; b < a->batch; ++b)
        for (int h = 0; h < a->heads; ++h)
            for (int i = 0; i < a->seqlen; ++i) {
                const int g = h / (a->heads / a->kv_heads);
                float sum = 0;
                for (int j = 0; j < a->kv_seqlen; ++j) {
                    float logit = 0;
                    for (int d = 0; d < a->head_dim; ++d)
                        logit += at(a->q, a->q_stride, b, h, i)[d] * at(a->k, a->k_stride, b, g, j)[d];
                    sum += weight[j] = std::exp(a->scale * logit);
                }
                for (int d = 0; d < a->head_dim; ++d) {
                    float value = 0;
                    for (int j = 0; j < a->kv_seqlen; ++j) value += weight[j] * at(a->v, a->v_stride, b, g, j)[d];
                    at(a->o, a->o_stride, b, h, i)[d] = value / sum;
                }
                if (a->lse) a->lse[b * a->lse_stride[0] + h * a->lse_stride[1] + i * a->lse_stride[2]] = std::log(sum);
            }
    return 0;
}
KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::GroupedHeads | kgate::KvSeqlen | kgate::Lse; }
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""
"""Legal since version 2."""

NOW = csrc_directory() / "sdpa.h"


def against(header: str, folder: Path, text: str = ATTENTION) -> kernel.Kernel:
    """The kernel, with a version of the header beside it, which is the one that it then includes."""
    folder.mkdir()
    (folder / "sdpa.h").write_text(header)
    (folder / "attention.cpp").write_text(text)
    return kernel.load_kernel(folder / "attention.cpp")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: None) -> dict[int, kernel.Kernel]:
    """The kernel by the version of the header that it was built against."""
    folder = tmp_path_factory.mktemp("versions")
    return {1: against(VERSION_1.read_text(), folder / "1"), 3: against(NOW.read_text(), folder / "3")}


def tensors(heads: int = 4, kv_heads: int = 4, keys: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    return (
        torch.randn(2, heads, 9, 8, generator=generator),
        torch.randn(2, kv_heads, keys, 8, generator=generator),
        torch.randn(2, kv_heads, keys, 8, generator=generator),
    )


def test_a_kernel_built_against_version_1_runs_unchanged(built: dict[int, kernel.Kernel]) -> None:
    old, new = built[1], built[3]
    assert not hasattr(ctypes.CDLL(str(old.build.path)), "kgate_sdpa_version")
    assert ctypes.CDLL(str(new.build.path)).kgate_sdpa_version() == 3
    q, k, v = tensors()
    interleaved = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v)]
    for inputs in ((q, k, v), interleaved):
        for causal in (False, True):
            out = torch.full_like(q, float("nan"))
            assert old(*inputs, is_causal=causal, scale=0.3, out=out) is out
            assert torch.equal(out, new(*inputs, is_causal=causal, scale=0.3))
            exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.3)
            assert (out - exact).abs().max() < 1e-5


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize(
    ("inputs", "keywords", "missing"),
    [
        (tensors(kv_heads=2), {}, "grouped heads"),
        (tensors(keys=7), {}, "another number of keys than of queries"),
        (tensors(), {"window": 3, "is_causal": True}, "attention window"),
        (tensors(), {"softcap": 5.0}, "softcap"),
        (tensors(), {"bias": torch.zeros(1, 1, 9, 9)}, "bias"),
        (tensors(), {"return_lse": True}, "log-sum-exp"),
        (tensors(kv_heads=2, keys=3), {"return_lse": True}, "grouped heads, another number of .*, log-sum-exp"),
    ],
)
def test_a_kernel_that_declares_nothing_is_asked_for_nothing_but_plain_attention(
    version: int,
    inputs: tuple[torch.Tensor, ...],
    keywords: dict[str, object],
    missing: str,
    built: dict[int, kernel.Kernel],
) -> None:
    out = torch.full_like(inputs[0], 7.0)
    outs = (out, torch.empty(2, 4, 9)) if "return_lse" in keywords else out
    with pytest.raises(CandidateError, match=rf"^attention can't be asked for: {missing}\. It has not declared"):
        built[version](*inputs, **keywords, out=outs)
    assert (out == 7.0).all()


def test_a_kernel_built_against_version_2_gets_all_that_it_declares(tmp_path: Path, shared_cache: None) -> None:
    old = against(VERSION_2.read_text(), tmp_path / "2", GROUPS.replace("== VERSION", "== 2"))
    assert ctypes.CDLL(str(old.build.path)).kgate_sdpa_version() == 2
    q, k, v = tensors(kv_heads=2, keys=13)
    out, lse = old(q, k, v, scale=0.3, return_lse=True)
    wide = [t.repeat_interleave(2, 1) for t in (k, v)]
    exact = torch.nn.functional.scaled_dot_product_attention(q, wide[0], wide[1], scale=0.3)
    assert (out - exact).abs().max() < 1e-5
    assert (lse - (0.3 * q @ wide[0].mT).logsumexp(-1)).abs().max() < 1e-5
    for keywords in ({"window": 3}, {"softcap": 5.0}, {"bias": torch.zeros(1, 1, 9, 13)}):
        with pytest.raises(CandidateError, match="can't be asked for"):
            old(q, k, v, **keywords)


def test_a_kernel_built_against_a_newer_version_is_not_loaded(tmp_path: Path, shared_cache: None) -> None:
    text = NOW.read_text()
    assert "#define KGATE_SDPA_VERSION 3\n" in text
    with pytest.raises(BuildError, match=r"version 4 of sdpa\.h, and this pytest-kgate has version 3.\nUpgrade"):
        against(text.replace("#define KGATE_SDPA_VERSION 3\n", "#define KGATE_SDPA_VERSION 4\n"), tmp_path / "4")


def test_older_versions_are_the_beginning_of_every_later_one() -> None:
    now = NOW.read_text()
    plain = fields(now, "struct SdpaArgsV1 {")
    assert fields(VERSION_1.read_text(), "struct SdpaArgs {") == plain
    second = VERSION_2.read_text()
    assert fields(second, "struct SdpaArgsV1 {") == plain
    more = fields(second, "struct SdpaArgs : SdpaArgsV1 {")
    assert more == fields(now, "struct SdpaArgs : SdpaArgsV1 {")[: len(more)]


def fields(header: str, struct: str) -> list[str]:
    found = header.partition(struct)[2].partition("};")[0]
    assert found
    return code(found)


def code(text: str) -> list[str]:
    """The lines without their comments."""
    return [line.partition("//")[0].strip() for line in text.splitlines()]
