"""`kgate build`: compile shipped kernels ahead of the tests, or time what a build and a load take."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.report.page import block
from pytest_kgate.system.folders.scratch import scratch
from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from pytest_kgate.build.registry import Source

_HEAD = ("implementation", "architecture", "cold build", "knob change", "warm load")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("implementations", nargs="*", metavar="NAME", help="default: all that the architecture takes")
    parser.add_argument("--arch", metavar="SM", help="such as sm_90a; default: that of the GPU here, else sm_80")
    parser.add_argument("--timings", action="store_true", help="build in an empty cache, one by one, and say how long")
    block.add_arguments(parser, "replace a block of this file by the timings")


def run(options: argparse.Namespace) -> int:
    """Run the verb; 1 where something does not compile."""
    from pytest_kgate.build import registry

    block.check(options)
    sources = [registry.find_source(name) for name in options.implementations] or _that_fit(options.arch)
    if not options.timings:
        return _build_all(sources, options.arch)
    timings = []
    for source in sources:
        try:
            timings.append(timing(source, options.arch))
        except LibraryMissing as error:
            if options.implementations:
                raise
            print(f"kgate: {source.name} is left out. {error.what}", file=sys.stderr)
    block.write(options, table(timings))
    return 0


def _that_fit(arch: str | None) -> list[Source]:
    """All that are ready, without those that are for another architecture, which are told."""
    from pytest_kgate.build import registry
    from pytest_kgate.build.compiler import arch as architecture

    wanted = architecture.of_device() if arch is None else architecture.parse(arch)
    ready = [name for name, entry in registry.implementations().items() if entry.status == "ready"]
    sources = [registry.find_source(name) for name in ready]
    for source in sources:
        if source.architecture not in (None, wanted):
            print(f"kgate: {source.name} is left out. It is for {source.architecture}, not {wanted}.", file=sys.stderr)
    return [source for source in sources if source.architecture in (None, wanted)]


def _build_all(sources: list[Source], arch: str | None) -> int:
    from pytest_kgate.build.kernel import prepare

    status = 0
    outcomes = prepare([(_designation(source), {}) for source in sources], arch=arch)
    for source, outcome in zip(sources, outcomes, strict=True):
        if isinstance(outcome, KgateError):
            print(f"{source.name}: {outcome.what}")
            status = 1
        else:
            took = "from the cache" if outcome.cached else f"{outcome.seconds:.1f} s"
            print(f"{source.name} ({outcome.arch}): {took}, {outcome.path}")
    return status


@dataclass(frozen=True)
class Timing:
    """How long one source takes, in seconds."""

    name: str
    arch: str
    compiler: str
    cold: float
    """The first build, in an empty cache."""

    knob: float
    """A build with the first knob that can be switched: `USE_FAST_EXP`, else twice the first one's default."""

    warm: float
    """`load_kernel` of what is in the cache, in a process that has not loaded it."""


def timing(source: Source, arch: str | None) -> Timing:
    """Build and load a source in a cache of its own. Raises `BuildError` and `ToolchainMissing`."""
    require_torch()
    import torch  # noqa: F401  (what a test has imported before it loads a kernel is no part of loading it)

    from pytest_kgate.build import library
    from pytest_kgate.build import vendor_libraries
    from pytest_kgate.build.compiler import ninja
    from pytest_kgate.build.compiler.recipe import recipe
    from pytest_kgate.build.kernel import load_kernel

    library.binding()  # likewise: built once for all kernels
    vendor_libraries.need(source.libraries, source.name)  # and half a gigabyte that PyTorch's CUDA builds have loaded
    with empty_cache():
        start = time.perf_counter()
        built = ninja.build(recipe(source, {}, arch=arch))
        cold = time.perf_counter() - start
        start = time.perf_counter()
        ninja.build(recipe(source, _other_knobs(source), arch=arch))
        knob = time.perf_counter() - start
        gc.collect()  # of what the builds have left, which would be counted
        start = time.perf_counter()
        load_kernel(_designation(source), arch=arch)
        warm = time.perf_counter() - start
    return Timing(source.name, built.arch, built.compiler, cold, knob, warm)


def table(timings: list[Timing]) -> str:
    """The timings in Markdown, and below on what they were taken."""
    from pytest_kgate.report import format as text
    from pytest_kgate.report.page.markdown import grid
    from pytest_kgate.system.cpu_load import cpu_model

    rows = [(t.name, t.arch, *(text.seconds(value) for value in (t.cold, t.knob, t.warm))) for t in timings]
    facts = (cpu_model(), f"{os.cpu_count()} processors", *dict.fromkeys(t.compiler for t in timings))
    return f"{grid(_HEAD, _HEAD[2:], rows)}\n{', '.join(facts)}, {time.strftime('%Y-%m-%d')}\n"


def _designation(source: Source) -> str | Path:
    return source.implementation or source.path


def _other_knobs(source: Source) -> dict[str, int]:
    known = {knob.name: knob.default for knob in source.knobs}
    if "USE_FAST_EXP" in known:
        return {"USE_FAST_EXP": 0}
    return {name: 2 * int(default) for name, default in list(known.items())[:1]}


@contextmanager
def empty_cache() -> Iterator[None]:
    before = os.environ.get("KGATE_CACHE_DIR")
    with scratch("timings") as path:
        os.environ["KGATE_CACHE_DIR"] = path
        try:
            yield
        finally:
            if before is None:
                del os.environ["KGATE_CACHE_DIR"]
            else:
                os.environ["KGATE_CACHE_DIR"] = before
