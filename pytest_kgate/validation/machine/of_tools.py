"""Which compilers and tools are here, and whether counters may be read: without them, some things can't be judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.profile.nsight.collection.refusals import denied
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.program import not_found
from pytest_kgate.profile.under_tool.program import version_of
from pytest_kgate.validation.machine.finding import Finding

_COMPILERS: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("C++ compiler", toolchain.host_compiler, "no kernel is built, neither yours from a file nor those shipped"),
    ("ninja", toolchain.ninja, "no kernel is built, neither yours from a file nor those shipped"),
)

_NVIDIA = (
    ("ncu", "`metrics` limits are NOT MEASURED, records have no counters, and failures don't say why it is slow"),
    ("compute-sanitizer", "`sanitize` tests are skipped: writes out of bounds within other memory are not found"),
)


def of_tools(kind: str) -> list[Finding]:
    """Findings on what gates on this kind of device (`host`, `cuda`) may start."""
    found = [_compiler(*one) for one in _COMPILERS]
    if kind != "cuda":
        return found
    found.append(
        _compiler("nvcc", toolchain.cuda_compiler, "kernels from .cu files, also those shipped, end as an ERROR")
    )
    found += [_tool(*one) for one in _NVIDIA]
    refusal = denied()
    if refusal is None:
        return [*found, Finding("counters", "ok", "nothing forbids this process to read them")]
    what, _, todo = refusal.partition(". ")
    return [*found, Finding("counters", "costs", what, "as without ncu", todo)]


def _compiler(about: str, find: Callable[[], Any], cost: str) -> Finding:
    try:
        found = find()
    except ToolchainMissing as error:
        return Finding(about, "costs", error.what.rstrip("."), cost, error.todo)
    return Finding(about, "ok", found.name if isinstance(found, toolchain.Compiler) else str(found))


def _tool(name: str, cost: str) -> Finding:
    program = find_program(name)
    if program is None:
        found, _, _ = not_found(name).partition(":")
        return Finding(name, "costs", found, cost, "Put it on PATH, or set CUDA_HOME to a CUDA toolkit that has it.")
    return Finding(name, "ok", f"{version_of(program)}, {program}")
