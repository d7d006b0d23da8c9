"""What the kernels of a candidate that was built here take, from the compiler's report; needs no GPU."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.build import includes
from pytest_kgate.build.kernel import Kernel
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.resources.occupancy import multiprocessor
from pytest_kgate.profile.resources.occupancy import resident_blocks
from pytest_kgate.profile.resources.plan import Launch
from pytest_kgate.profile.resources.plan import Refused
from pytest_kgate.profile.resources.plan import plan

if TYPE_CHECKING:
    from pytest_kgate.build.compiler.ninja import BuildResult
    from pytest_kgate.build.compiler.ptxas import Resources
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.shape import Shape

_DYNAMIC = re.compile(r"\bextern\b[^;{}]*\b__shared__\b")
_OTHERS = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"](?!cuda/|cooperative_groups/)[^>"\n]*/', re.MULTILINE)
"""Headers of other projects, which are not read here: those of the toolkit and of C++ are in no folder."""


def compiled(candidate: Any, problem: Problem) -> list[KernelUse]:
    """What each kernel that a call on the problem launches takes; each of the library's, where launches can't be known.

    A library that is not open in this process, as that of an isolated candidate, is not opened.
    """
    build: BuildResult = candidate.build
    launches = _planned(build, problem) if isinstance(candidate, Kernel) else []
    by_name = {one.kernel: one for one in build.resources}
    own = list(dict.fromkeys(launch for launch in launches if launch.kernel in by_name))
    if own:
        return [_use(by_name[launch.kernel], build.arch, launch) for launch in own]
    without = None if _may_ask_for_shared_memory(build) else 0
    return [_use(one, build.arch, None, without) for one in build.resources]


def _use(resources: Resources, arch: str, launch: Launch | None, dynamic: int | None = None) -> KernelUse:
    blocks = None
    sm = multiprocessor(arch)
    if launch is not None:
        dynamic = launch.shared_bytes
        if sm is not None:
            shared = resources.shared_bytes + launch.shared_bytes
            blocks = resident_blocks(sm, launch.threads, resources.registers, shared)
    return KernelUse(
        kernel=resources.kernel,
        registers=resources.registers,
        local_bytes=resources.stack_bytes,
        spill_bytes=resources.spill_bytes,
        static_shared_bytes=resources.shared_bytes,
        dynamic_shared_bytes=dynamic,
        blocks_per_sm=blocks,
    )


def _planned(build: BuildResult, problem: Problem) -> list[Launch]:
    """The launches of one call, by the library's own plan; none where it has no plan for this problem."""
    shape, sm = problem.shape, multiprocessor(build.arch)
    if shape is None or sm is None or problem.dtype is None:
        return []
    if any(one is not None for one in (shape.window, shape.softcap, shape.bias)):
        return []
    try:
        return _of_library(build.path, shape, problem.dtype, sm.count)
    except (Refused, AttributeError, KeyError, OSError, subprocess.SubprocessError):
        return []


def _of_library(library: Path, shape: Shape, dtype: str, multiprocessors: int) -> list[Launch]:
    """A kernel that has no heads which share their keys is called with each group of them as a batch of its own."""
    try:
        return plan(library, shape, dtype, multiprocessors)
    except Refused:
        if shape.kv_heads is None:
            raise
    groups = replace(shape, batch=shape.batch * shape.kv_heads, heads=shape.heads // shape.kv_heads, kv_heads=None)
    return plan(library, groups, dtype, multiprocessors)


def _may_ask_for_shared_memory(build: BuildResult) -> bool:
    """Whether launches may ask for dynamic shared memory: a source that declares none has no use for it."""
    words = shlex.split(build.command)
    try:
        text = includes.expand(Path(words[words.index("-o") - 1]), (csrc_directory(),))
    except (OSError, ValueError):
        return True
    return bool(_DYNAMIC.search(text) or _OTHERS.search(text))
