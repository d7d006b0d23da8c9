"""Knobs are named alike everywhere, and a source refuses in a sentence what it can't be built with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.kernel import prepare
from pytest_kgate.build.registry import find_source
from pytest_kgate.build.registry import implementations
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import ToolchainMissing

ROOT = Path(__file__).parents[2]

SHARED_NAMES = {
    "BLOCK_M",
    "BLOCK_N",
    "NUM_WARPS",
    "STAGES",
    "SPLIT_KV",
    "NUM_PRODUCER_WARPS",
    "USE_FAST_EXP",
    "PAD",
    "HEAD_DIM",
}
ONLY_SOME_HAVE = {
    *("ALGORITHM", "CAUSAL_ROWS", "COPY", "INTERLEAVE", "KEPT_KEYS", "LAZY_RESCALE", "PERSISTENT", "PING_PONG"),
    *("PROMOTE", "PROMOTE_KEYS", "SECTION_MB", "STREAM", "TERMS", "UNROLL", "WGMMA", "WORKSPACE_MIB"),
}
READY = [entry for entry in implementations().values() if entry.status == "ready"]
KNOBS = [(entry.name, knob.name) for entry in READY for knob in find_source(entry.name).knobs]
COMBINATIONS = [
    ("host", {"BLOCK_M": 24}, "BLOCK_M must be a multiple of 16"),
    ("custom_v3", {"BLOCK_M": 20, "NUM_WARPS": 8}, "BLOCK_M must be 1 to 16 times NUM_WARPS"),
    ("wmma", {"BLOCK_M": 48, "NUM_WARPS": 8}, "NUM_WARPS must be a multiple of BLOCK_M / 16"),
    ("wmma", {"BLOCK_M": 32, "BLOCK_N": 64, "NUM_WARPS": 8}, "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp"),
    ("latency", {"BLOCK_M": 32, "HEAD_DIM": 64}, "BLOCK_M must be 0 or 64 with WGMMA"),
    ("latency", {"NUM_WARPS": 8, "HEAD_DIM": 64}, "NUM_WARPS must be 0 or 4 with WGMMA"),
    ("latency", {"BLOCK_N": 32, "HEAD_DIM": 64}, "BLOCK_N * STAGES must be 256 with WGMMA"),
    ("decode", {"BLOCK_N": 64, "STAGES": 3, "HEAD_DIM": 128}, "NUM_WARPS * STAGES * BLOCK_N must be less"),
    ("hopper", {"BLOCK_M": 192, "BLOCK_N": 176, "HEAD_DIM": 64}, "BLOCK_N must be at most 128 with BLOCK_M 192"),
    ("hopper", {"BLOCK_M": 192}, "BLOCK_M must be 128 or 0 unless HEAD_DIM is 64"),
    ("wmma", {"NUM_WARPS": 32, "NUM_PRODUCER_WARPS": 1}, "NUM_WARPS + NUM_PRODUCER_WARPS must be 1 to 32"),
]


@pytest.fixture(scope="module")
def refusals(build_cache):
    """The first line that each knob of -1, and each combination, is answered.

    Nothing that is built comes of these 36 runs of the compiler, which take 45 s: what they said is kept in the build
    cache instead, under all that it follows from.
    """
    try:
        compiler = toolchain.cuda_compiler()
    except ToolchainMissing as error:
        pytest.skip(str(error))
    files = [path for folder in ("csrc", "pytest_kgate/build") for path in sorted((ROOT / folder).rglob("*.*"))]
    kinds = (".cu", ".cuh", ".h", ".cpp", ".py")
    texts = [(path.name, path.read_text()) for path in (*files, Path(__file__)) if path.suffix in kinds]
    key = cache.Key("refusals", cache.digest(texts, compiler.version, compiler.command))
    entry = cache.lookup(key)
    if entry is None:
        with cache.locked([key]), cache.staging(key) as folder:
            (folder / "refusals.json").write_text(json.dumps(list(found_refusals().items())))
            entry = cache.publish(key, folder, "refusals.json", {})
    return {as_tuple(wanted): line for wanted, line in json.loads(entry.path.read_text())}


def as_tuple(found):
    """What JSON makes lists of, as it was."""
    return tuple(map(as_tuple, found)) if isinstance(found, list) else found


def found_refusals():
    """All knobs of a source are tried at once, and alone those of which nothing is said then."""
    together = [(entry.name, {knob.name: -1 for knob in find_source(entry.name).knobs}) for entry in READY]
    combined = [(impl, knobs) for impl, knobs, _ in COMBINATIONS]
    first = answers_to([*together, *combined])
    said = {impl: first[(impl, *knobs.items())] for impl, knobs in together}
    alone = [(impl, {knob: -1}) for impl, knob in KNOBS if not sentence_on(knob, said[impl])]
    return {(impl, (knob, -1)): said[impl] for impl, knob in KNOBS} | first | answers_to(alone)


def answers_to(wanted):
    """The first line of what each (impl, knobs) is answered, by impl and knobs; one ninja run for all."""
    return {
        (impl, *knobs.items()): str(answer).partition("\n")[0] if isinstance(answer, BuildError) else "it compiles"
        for (impl, knobs), answer in zip(wanted, prepare(wanted, arch="sm_90a"), strict=True)
    }


def sentence_on(knob, line):
    """What the line demands of this knob, which stands before the `must`; None where it says nothing of it."""
    sentences = line.partition(" does not compile: ")[2].split(". ")
    return next((one for one in sentences if re.search(rf"\b{knob}\b.* must ", one)), None)


@pytest.mark.parametrize("impl", [entry.name for entry in READY])
def test_knobs_have_names_that_are_known(impl):
    assert {knob.name for knob in find_source(impl).knobs} <= SHARED_NAMES | ONLY_SOME_HAVE


@pytest.mark.parametrize(("impl", "knob"), KNOBS)
def test_a_knob_out_of_range_is_refused_in_a_sentence(impl, knob, refusals):
    line = refusals[impl, (knob, -1)]
    assert line.startswith(f"{impl}(")
    assert f"{knob}=-1" in line.partition(" does not compile: ")[0]
    assert sentence_on(knob, line)
    assert line.endswith(".")


@pytest.mark.parametrize(("impl", "knobs", "sentence"), COMBINATIONS, ids=str)
def test_knobs_that_do_not_go_together_are_refused_in_a_sentence(impl, knobs, sentence, refusals):
    assert sentence in refusals[(impl, *knobs.items())]
