from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from pytest_kgate.build import compile as compiling
from pytest_kgate.build import recipe
from pytest_kgate.build import registry
from pytest_kgate.errors import BuildError

ROOT = Path(__file__).parents[2]
ARCHES = ("sm_80", "sm_89", "sm_90a")
CUDA = [
    name
    for name, implementation in registry.implementations().items()
    if implementation.device_kind == "cuda" and implementation.status == "ready"
]

Built = dict[tuple[str, str], compiling.BuildResult | BuildError]


@pytest.fixture(scope="session")
def shipped(nvcc: None, shared_cache: None) -> Built:
    """Every CUDA implementation for every architecture, in one ninja run; the user's cache keeps them."""
    wanted = [(name, arch) for name in CUDA for arch in ARCHES]
    recipes = [recipe.recipe(registry.find_source(name), {}, arch=arch) for name, arch in wanted]
    return dict(zip(wanted, compiling.build_many(recipes), strict=True))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", CUDA)
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


@pytest.mark.parametrize(("name", "threads"), [("mma", 128), ("latency", 256)])
def test_two_blocks_of_a_kernel_fit_the_registers_of_an_sm_of_sm_89(name: str, threads: int, shipped: Built) -> None:
    built = shipped[name, "sm_89"]
    if isinstance(built, BuildError):
        raise built
    # Registers are given out 8 a lane at a time; a static_assert of the source sees that shared memory suffices.
    assert all(2 * threads * -(-resources.registers // 8) * 8 <= 65536 for resources in built.resources)


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
        compiling.build(recipe.recipe(registry.find_source(name), {"HEAD_DIM": 64, **knobs}, arch="sm_89"))
    assert why in str(caught.value)


def test_the_wheel_contains_the_sources_and_finds_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in ("pytest_kgate", "csrc"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, tree)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, tree], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("pytest_kgate-*.whl")
    with ZipFile(wheel) as archive:
        inside = {Path(name).name for name in archive.namelist() if name.startswith("pytest_kgate/csrc/")}
        archive.extractall(tmp_path / "site")
    assert {path.name for path in (ROOT / "csrc").iterdir() if path.is_file()} <= inside
    code = "from pytest_kgate.build import registry; print(registry.find_source('host').path)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()) == tmp_path / "site" / "pytest_kgate" / "csrc" / "host.cpp"
