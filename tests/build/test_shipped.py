from __future__ import annotations

import pytest
from machine_code import disassembled
from machine_code import overwritten_operands

from pytest_kgate import Shape
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import ptxas
from pytest_kgate.build.compiler import recipe
from pytest_kgate.errors import BuildError
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.profile.resources.compiled import _planned
from pytest_kgate.profile.resources.occupancy import MULTIPROCESSORS as SMS
from pytest_kgate.profile.resources.occupancy import resident_blocks
from pytest_kgate.profile.resources.plan import Launch
from pytest_kgate.profile.resources.plan import plan

ARCHES = ("sm_80", "sm_89", "sm_90a")
ONLY_HOPPER = ("hopper", "fp8")
"""What is for sm_90a alone."""
CUDA = [
    name
    for name, implementation in registry.implementations().items()
    if implementation.device_kind == "cuda" and implementation.status == "ready"
]

BUILDS = [(name, arch) for name in CUDA for arch in ARCHES if arch == "sm_90a" or name not in ONLY_HOPPER]

Built = dict[tuple[str, str], ninja.BuildResult | BuildError]


@pytest.fixture(scope="session")
def shipped(nvcc: None, shared_cache: None) -> Built:
    """Every CUDA implementation for every architecture, in one ninja run; the user's cache keeps them."""
    recipes = [recipe.recipe(registry.find_source(name), {}, arch=arch) for name, arch in BUILDS]
    return dict(zip(BUILDS, ninja.build_many(recipes), strict=True))


@pytest.mark.parametrize(("name", "arch"), BUILDS)
def test_a_shipped_kernel_compiles_and_spills_nothing(name: str, arch: str, shipped: Built) -> None:
    built = shipped[name, arch]
    if isinstance(built, BuildError):
        raise built
    assert built.arch == arch
    assert built.resources
    for resources in built.resources:
        assert resources.arch == arch
        assert 0 < resources.registers <= 255
        assert resources.shared_bytes <= 48 * 1024
        assert resources.spill_bytes == 0, resources


MULTIPROCESSORS = {"sm_80": 108, "sm_89": 58, "sm_90a": 132}
"""Of the GPUs that data centres have: A100, L4, H100 and H200."""

SHARED_KIB = {"sm_80": 163, "sm_89": 99, "sm_90a": 227}
"""That a block can have at most."""


def resources_of(launch: Launch, built: ninja.BuildResult) -> ptxas.Resources:
    """What ptxas said of the launch's kernel."""
    (found,) = [entry for entry in built.resources if entry.kernel == launch.kernel]
    return found


def launches_of(name: str, built: ninja.BuildResult, head_dim: int) -> set[Launch]:
    shapes = (
        Shape(1, 1, 64, head_dim),
        Shape(1, 8, 512, head_dim, True),
        Shape(1, 8, 1024, head_dim),
        Shape(8, 16, 4096, head_dim),
        Shape(8, 16, 4096, head_dim, True),
    )
    launches = {
        launch
        for shape in shapes
        for dtype in (("float8_e4m3fn",) if name == "fp8" else ("float16", "bfloat16"))
        for launch in plan(built.path, shape, dtype, MULTIPROCESSORS[built.arch])
    }
    assert launches
    return launches


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
@pytest.mark.parametrize(("name", "arch"), BUILDS)
def test_a_shipped_kernel_asks_for_no_more_shared_memory_than_there_is(
    name: str, arch: str, head_dim: int, shipped: Built
) -> None:
    built = shipped[name, arch]
    assert isinstance(built, ninja.BuildResult), built
    if name == "fp8" and head_dim not in (64, 128):
        pytest.skip("fp8 has no such head dimension")
    for launch in launches_of(name, built, head_dim):
        static = resources_of(launch, built).shared_bytes
        assert launch.shared_bytes + static <= SHARED_KIB[arch] * 1024, launch


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
# `decode` hides it by tiles in flight, as many as shared memory has room for: one block fills a multiprocessor.
@pytest.mark.parametrize("name", [name for name, arch in BUILDS if arch == "sm_89" and name != "decode"])
def test_a_shipped_kernel_leaves_an_sm_89_room_to_hide_its_latency(name: str, head_dim: int, shipped: Built) -> None:
    built = shipped[name, "sm_89"]
    assert isinstance(built, ninja.BuildResult), built
    for launch in launches_of(name, built, head_dim):
        used = resources_of(launch, built)
        few_registers = launch.threads == 256 and used.registers <= 72
        shared = used.shared_bytes + launch.shared_bytes
        blocks = resident_blocks(SMS["sm_89"], launch.threads, used.registers, shared)
        assert few_registers or blocks >= 2, (launch, used.registers)


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
def test_wmma_takes_small_blocks_for_few_rows_and_large_ones_for_many(head_dim: int, shipped: Built) -> None:
    built = shipped["wmma", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built

    def blocks(batch: int, heads: int, seqlen: int) -> int:
        (launch,) = plan(built.path, Shape(batch, heads, seqlen, head_dim), "float16", multiprocessors=132)
        return launch.blocks

    assert blocks(1, 8, 512) == 8 * 512 // 32
    assert blocks(1, 8, 1024) == 8 * 1024 // 64
    assert blocks(2, 8, 2048) == 2 * 8 * 2048 // 128
    assert blocks(1, 8, 1) == 8


def test_custom_v3_takes_three_stages_for_many_keys_under_the_causal_mask_alone(shipped: Built) -> None:
    built = shipped["custom_v3", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built

    def shared_bytes(seqlen: int, head_dim: int, causal: bool) -> int:
        (launch,) = plan(built.path, Shape(1, 8, seqlen, head_dim, causal), "float16", multiprocessors=132)
        return launch.shared_bytes

    two = shared_bytes(2047, 64, causal=True)
    assert shared_bytes(4096, 64, causal=False) == two
    assert shared_bytes(2048, 64, causal=True) == two + 2 * 64 * (64 + 8) * 2
    assert shared_bytes(2048, 128, causal=True) == shared_bytes(2048, 128, causal=False)


def test_decode_splits_keys_between_blocks_until_they_fill_the_gpu(shipped: Built) -> None:
    built = shipped["decode", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built

    def blocks(batch: int, keys: int) -> int:
        problem = sdpa_problem(Shape(batch, 32, 1, 128, kv_heads=8, kv_seqlen=keys), "float16")
        (launch,) = _planned(built, problem)
        return launch.blocks

    assert blocks(8, 8192) == 64 * 2
    assert blocks(1, 65536) == 8 * 8
    assert blocks(64, 1024) == 512
    assert blocks(1, 16) == 8


def test_grouped_heads_are_planned_as_the_batches_that_a_kernel_of_plain_attention_gets(shipped: Built) -> None:
    built = shipped["mma", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built
    grouped, batches = Shape(2, 32, 512, 64, kv_heads=8), Shape(16, 4, 512, 64)
    assert _planned(built, sdpa_problem(grouped, "float16")) == _planned(built, sdpa_problem(batches, "float16")) != []
    assert _planned(built, sdpa_problem(Shape(2, 32, 1, 64, kv_seqlen=512), "float16")) == []


def test_hopper_gives_each_causal_tile_a_block_where_keys_and_values_outgrow_the_l2(shipped: Built) -> None:
    built = shipped["hopper", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built

    def blocks(shape: Shape, **fields: int) -> int:
        (launch,) = plan(built.path, shape, "float16", multiprocessors=132, **fields)
        return launch.blocks

    assert blocks(Shape(4, 16, 4096, 128, True)) == 4 * 16 * 4096 // 128
    assert blocks(Shape(4, 16, 4096, 128)) == 132
    assert blocks(Shape(2, 16, 4096, 128, True)) == 132
    assert blocks(Shape(4, 16, 4096, 128, True), kv_heads=4) == 132
    assert blocks(Shape(1, 8, 512, 128, True)) == 8 * 512 // 128


def test_fp8_takes_192_keys_at_a_time_but_for_small_causal_problems(shipped: Built) -> None:
    built = shipped["fp8", "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built

    def tiles(shape: Shape) -> str:
        first, second = (
            launch.kernel.partition("<")[2] for launch in plan(built.path, shape, "float8_e4m3fn", multiprocessors=132)
        )
        assert first == second
        return first

    narrow, wide = tiles(Shape(2, 8, 2048, 64, True)), tiles(Shape(2, 8, 2048, 64))
    assert "128" in narrow.rpartition(",")[2]
    assert "192" in wide.rpartition(",")[2]
    assert tiles(Shape(4, 16, 4096, 64, True)) == wide
    assert "192" in tiles(Shape(4, 16, 4096, 128)).rpartition(",")[2]


@pytest.mark.parametrize(
    ("name", "knobs", "why"),
    [
        ("mma", {"STAGES": 1}, "STAGES must be 2, 3 or 4"),
        ("mma", {"BLOCK_M": 100}, "BLOCK_M must be 16 or 32 times"),
        ("mma", {"SPLIT_KV": 3}, "SPLIT_KV must divide NUM_WARPS"),
        ("mma", {"BLOCK_N": 40}, "must be a multiple of 16 from 16 to 128"),
        ("latency", {"SPLIT_KV": 2}, "there are no clusters"),
        ("latency", {"NUM_WARPS": 6}, "NUM_WARPS must be a multiple of BLOCK_M / 16"),
    ],
    ids=str,
)
def test_an_illegal_knob_is_refused_with_a_sentence(
    name: str, knobs: dict[str, int], why: str, nvcc: None, shared_cache: None
) -> None:
    with pytest.raises(BuildError) as caught:
        ninja.build(recipe.recipe(registry.find_source(name), {"HEAD_DIM": 64, **knobs}, arch="sm_89"))
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["hopper", "fp8", "latency"])
def test_no_left_operand_is_overwritten_while_its_product_is_under_way(name: str, shipped: Built) -> None:
    built = shipped[name, "sm_90a"]
    assert isinstance(built, ninja.BuildResult), built
    sass = disassembled(built.path)
    assert "GMMA" in sass
    assert not overwritten_operands(sass)


PRODUCT = "HGMMA.64x64x16.F32 R24, R152, gdesc[UR16].tnspB, R24"


@pytest.mark.parametrize(
    ("instructions", "count"),
    [
        ((PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x0", "F2FP.F16.F32.PACK_AB R152, R1, R2"), 0),
        ((PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x1", "F2FP.F16.F32.PACK_AB R152, R1, R2"), 1),
        ((PRODUCT, "@P0 FMNMX R155, R1, R2, !PT"), 1),
        ((PRODUCT, "HMMA.16816.F32 R150, R8, R4, R150"), 2),
        ((PRODUCT, "STS [R152], R3", "FADD R156, R152, R3"), 0),
    ],
)
def test_overwritten_operands_are_found_in_machine_code(instructions: tuple[str, ...], count: int) -> None:
    lines = [f"        /*{16 * place:04x}*/                   {text} ;" for place, text in enumerate(instructions)]
    assert len(overwritten_operands("\n".join(["Function : kernel", *lines]))) == count
