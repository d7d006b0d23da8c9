"""Calls with tensors of 8 bits: what a kernel is given that takes them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pytest_kgate.build.kernel import Kernel
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError

TAKES = """
#include <cstring>
#include "sdpa.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    if (a->dtype != kgate::Float8E4M3) return -1;
    for (int h = 0; h < a->heads; ++h) {  // one query and one key of 1: the answer is the product of the scales
        const int g = h / (a->heads / a->kv_heads);
        const float scale = a->q_scale ? a->q_scale[h] * a->k_scale[g] * a->v_scale[g] : 1.0f;
        uint32_t bits;
        std::memcpy(&bits, &scale, 4);
        const uint16_t upper = bits >> 16;
        std::memcpy(static_cast<uint16_t*>(a->o) + h * a->o_stride[1], &upper, 2);
    }
    return 0;
}
KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::EightBits | kgate::GroupedHeads; }
KGATE_EXPORT const char* kgate_message(void) { return "It takes 8 bits alone."; }
"""


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory, shared_cache: None) -> Kernel:
    path: Path = tmp_path_factory.mktemp("eight") / "takes.cpp"
    path.write_text(TAKES)
    return load_kernel(path)


def ones(heads: int) -> torch.Tensor:
    return torch.ones(1, heads, 1, 1).to(torch.float8_e4m3fn)


def test_scales_come_by_head_and_the_answer_is_bfloat16(takes: Kernel) -> None:
    q_scale, k_scale = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([1.0, 16.0])
    q, k, v = ones(4), ones(2), ones(2)
    answer = takes(q, k, v, None, q_scale, k_scale, torch.tensor([0.5]))  # one for all heads
    assert answer.dtype == torch.bfloat16
    assert answer.flatten().tolist() == [0.5, 1.0, 32.0, 64.0]
    out = torch.zeros(1, 4, 1, 1, dtype=torch.bfloat16)
    assert takes(q, k, v, out=out) is out
    assert out.flatten().tolist() == [1.0] * 4


def test_scales_that_do_not_fit_are_refused_in_words(takes: Kernel) -> None:
    q = ones(4)
    with pytest.raises(UsageError, match=r"k_scale is a .* of shape \(3,.*\nIt is .* of 4 numbers, one a head"):
        takes(q, q, q, k_scale=torch.ones(3))
    with pytest.raises(UsageError, match="q_scale is of type float"):
        takes(q, q, q, q_scale=0.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"v_scale is given, but q.dtype is torch.float32"):
        takes(q.float(), q.float(), q.float(), v_scale=torch.ones(4))
    with pytest.raises(UsageError, match=r"out.dtype is torch.float8_e4m3fn.\nIt is torch.bfloat16"):
        takes(q, q, q, out=ones(4))


def test_kernel_that_has_not_declared_eight_bits_is_not_given_them() -> None:
    q = torch.ones(1, 2, 16, 64).to(torch.float8_e4m3fn)
    with pytest.raises(CandidateError, match=r"host can't be asked for: float8_e4m3fn tensors"):
        load_kernel("host")(q, q, q)
