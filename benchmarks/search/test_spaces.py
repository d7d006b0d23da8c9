"""What `searches.py` searches: `mma` from detuned defaults, an attention in Triton, and a kernel against itself.

Judges of searches, which run here by themselves with the first values of their knobs. They need a GPU.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kgate import Shape

SHAPES = [Shape(1, 8, 512, 64), Shape(2, 8, 2048, 64)]

ROWS_OF_A_WARP = "BLOCK_M * SPLIT_KV == 16 * NUM_WARPS or BLOCK_M * SPLIT_KV == 32 * NUM_WARPS"


@pytest.mark.search(
    macro={"BLOCK_M": [32, 64, 128], "BLOCK_N": [32, 64], "SPLIT_KV": [1, 2]},
    micro={"NUM_WARPS": [2, 4, 8], "STAGES": [2, 3], "PAD": [0, 8]},
    where=[ROWS_OF_A_WARP, "NUM_WARPS >= SPLIT_KV", "2 * STAGES * BLOCK_N * (64 + PAD) * 2 <= smem_bytes"],
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.8)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mma(kbench, sdpa_oracle, kernels, knobs, shape):
    """The first values are detuned: small tiles, no padding, so that every read of shared memory has bank conflicts.

    The best `mma` takes 1.55 times as long as the fastest SDPA at 2x8x2048x64 on an H100.
    """
    kbench(kernels("mma", HEAD_DIM=64, **knobs), sdpa_oracle(shape))


@pytest.mark.search(
    macro={"block_m": [16, 32, 64, 128], "block_n": [16, 32, 64]},
    micro={"num_warps": [8, 4, 2], "num_stages": [1, 2, 3]},
    where=["block_m * block_n <= 4096", "block_m >= 16 * num_warps or num_warps <= 4"],
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(3.0)
def test_triton(kbench, sdpa_oracle, knobs):
    """A plain flash attention in Triton."""
    pytest.importorskip("triton")
    from triton_attention import attention

    kbench(lambda q, k, v, **params: attention(q, k, v, **params, **knobs), sdpa_oracle(SHAPES[0]), name="triton")


@pytest.mark.search(micro={"NAME": [0, 1, 2, 3, 4, 5, 6, 7]})
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.0)
def test_itself(kbench, sdpa_oracle, kernels, knobs):
    """Eight names of one kernel, raced against that kernel: nothing is faster, so that nothing may be confirmed."""
    assert knobs.keys() == {"NAME"}
    kernel = kernels("mma", HEAD_DIM=64)
    kbench(kernels("mma", HEAD_DIM=64), replace(sdpa_oracle(SHAPES[0]), reference=kernel))
