"""Spaces to search: shipped kernels for sm_90a, and those of which `searches.py` knows what there is to be found.

    kgate search "benchmarks/search/test_spaces.py::test_hopper_64" --budget 5m

Judges of searches, which run here by themselves with the first values of their knobs. They need a GPU. `searches.py`
searches `mma` from detuned defaults, an attention in Triton, and a kernel against itself.
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


# Of `hopper` at any head dimension. Where 0 (PERSISTENT: 2) is a value, the kernel chooses by the problem.
HOPPER = {
    "PERSISTENT": [2, 1, 0],
    "PING_PONG": [1, 0],
    "LAZY_RESCALE": [1, 0],
    "SECTION_MB": [0, 8, 32, 1000],
}


@pytest.mark.search(
    macro={"BLOCK_M": [0, 128, 192], "BLOCK_N": [128, 64, 176, 192]},
    micro={"STAGES": [4, 3, 2], **HOPPER},
    where=["BLOCK_M != 192 or BLOCK_N <= 128", "(192 + 2 * STAGES * BLOCK_N) * 64 * 2 + 512 <= smem_bytes"],
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.0)
@pytest.mark.parametrize("shape", [Shape(2, 8, 2048, 64), Shape(2, 8, 2048, 64, causal=True)], ids=str)
def test_hopper_64(kbench, sdpa_oracle, kernels, knobs, shape):
    """The tiles and the turns of `hopper` at head_dim 64."""
    kbench(kernels("hopper", HEAD_DIM=64, **knobs), sdpa_oracle(shape))


@pytest.mark.search(
    macro={"BLOCK_N": [128, 64, 176]},
    micro={"STAGES": [2, 3, 4, 5, 6], **HOPPER},
    where=["(128 + 2 * STAGES * BLOCK_N) * 128 * 2 + 512 <= smem_bytes"],
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.0)
@pytest.mark.parametrize("shape", [Shape(2, 8, 2048, 128), Shape(4, 16, 4096, 128, causal=True)], ids=str)
def test_hopper_128(kbench, sdpa_oracle, kernels, knobs, shape):
    """Those at head_dim 128, which has room for 128 query rows only."""
    kbench(kernels("hopper", HEAD_DIM=128, **knobs), sdpa_oracle(shape))


@pytest.mark.search(
    macro={"PERSISTENT": [2, 1, 0]},
    micro={"STAGES": [0, 2, 3, 4, 5]},
    where=["128 * 128 * (1 + 2) + STAGES * 128 * (128 + 128) + 512 <= smem_bytes"],
)
@pytest.mark.speedup(0.85)
@pytest.mark.parametrize("shape", [Shape(4, 16, 4096, 128), Shape(4, 16, 4096, 128, causal=True)], ids=str)
def test_fp8(kbench, sdpa_oracle, kernels, knobs, shape):
    """`fp8` against SDPA in bfloat16 on the same values."""
    kbench(kernels("fp8", HEAD_DIM=128, **knobs), sdpa_oracle(shape, dtype="float8_e4m3fn"))


@pytest.mark.search(
    macro={"COPY": [2, 1, 0], "BLOCK_N": [32, 16, 64], "NUM_WARPS": [4, 2, 8]},
    micro={
        "STAGES": [3, 2, 4, 5, 6, 8],
        "SPLIT_KV": [0, 1, 2, 4, 8, 16],
        "INTERLEAVE": [0, 1],
        "STREAM": [1, 0],
        "PROMOTE": [256, 128, 0],
    },
    where=["NUM_WARPS * STAGES * 2 * BLOCK_N * (136 if COPY == 0 else 128) * 2 + 12 * 1024 <= smem_bytes"],
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.0)
@pytest.mark.parametrize("keys", [1024, 8192])
def test_decode(kbench, sdpa_oracle, kernels, knobs, keys):
    """`decode` of one query a head, where four of them share keys."""
    kbench(kernels("decode", HEAD_DIM=128, **knobs), sdpa_oracle(Shape(8, 32, 1, 128, kv_heads=8, kv_seqlen=keys)))


@pytest.mark.search(micro={"NAME": [0, 1, 2, 3, 4, 5, 6, 7]})
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1.0)
def test_itself(kbench, sdpa_oracle, kernels, knobs):
    """Eight names of one kernel, raced against that kernel: nothing is faster, so that nothing may be confirmed."""
    assert knobs.keys() == {"NAME"}
    kernel = kernels("mma", HEAD_DIM=64)
    kbench(kernels("mma", HEAD_DIM=64), replace(sdpa_oracle(SHAPES[0]), reference=kernel))
