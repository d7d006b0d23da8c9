"""What a kernel is asked to do, on which device, and by which rules it is judged: the part of a prompt that stays.

Facts are named one by one, since a record holds more: seeds, the command line, a GPU's serial number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.format import bound
from pytest_kgate.report.format import seconds_if_any

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.space.configuration import Value

_MIB = 2**20


@dataclass(frozen=True)
class Task:
    """The test that a prompt is about, as far as it is known."""

    test: str
    """Node id of the test that judges."""
    problem: tuple[str, ...] = ()
    """Lines on the workload."""
    demands: tuple[str, ...] = ()
    """Lines on what its gates demand."""
    device: tuple[str, ...] = ()
    """Lines on where it runs."""
    budget: tuple[str, ...] = ()
    """Lines on registers, shared memory and the like that a kernel can take."""
    libraries: tuple[str, ...] = ()
    """Versions of compilers and packages."""


def task_of(
    test: str, records: list[Record], facts: Mapping[str, Value], where: Mapping[str, str] = MappingProxyType({})
) -> Task:
    """The task of a test with these records of it, on a device with these facts (the names of `device_facts`).

    `where` is the environment of a journal's scope, which is told where there is no record.
    """
    by_problem = {record["problem"]["name"]: record for record in records}
    problem = tuple(line for record in by_problem.values() for line in _problem(record))
    demands = tuple(dict.fromkeys(line for record in records for line in _demands(record)))
    environment = records[-1]["environment"] if records else {}
    device, libraries = _device(environment), _libraries(environment)
    if not records:
        device = tuple(where[name] for name in ("GPU", "CPU") if name in where)[:1]
        libraries = tuple(f"{name} {where[name]}" for name in ("PyTorch", "Triton", "CUDA") if name in where)
    return Task(test, problem, demands, device, _budget(facts), libraries)


def _problem(record: Record) -> list[str]:
    facts = record["problem"]
    shape, reference, timing = facts["shape"], record["reference"], record["timing"]
    words = [facts["name"]]
    if shape is not None:
        batch, heads, seqlen, head_dim = shape
        words.append(f"attention of batch {batch}, {heads} heads, {seqlen} rows, head dimension {head_dim}")
        words.append("causal" if facts["causal"] else "not causal")
    words += [facts["dtype"]] if facts["dtype"] else []
    words += [f"{facts['flops'] / 1e9:.4g} GFLOP a call"] if facts["flops"] else []
    words += [f"{facts['bytes'] / _MIB:.4g} MiB a call"] if facts["bytes"] else []
    lines = [", ".join(words)]
    if reference is not None:
        backend = f" ({reference['backend']})" if reference["backend"] else ""
        took = f", {seconds_if_any(float(timing['reference']['median_seconds']))} a call" if timing else ""
        lines.append(f"to beat: {reference['name']}{backend}{took}")
    return lines


def _demands(record: Record) -> list[str]:
    lines = []
    for gate in record["gates"]:
        quantile = "" if gate["quantile"] == 0.5 else f" at quantile {gate['quantile']:g}"
        lines.append(f"latency ratio to the reference{quantile} below {bound(float(gate['bound']))}")
    correctness = record["correctness"]
    if correctness is not None:
        tolerance: Mapping[str, Any] = correctness
        if tolerance.get("atol") is not None:
            relative = f" + {tolerance['rtol']:g} |exact|" if tolerance.get("rtol") else ""
            lines.append(f"|answer - exact| <= {tolerance['atol']:g}{relative}")
    return lines


def _device(environment: Mapping[str, Any]) -> tuple[str, ...]:
    gpu, cpu = environment.get("gpu"), environment.get("cpu")
    if gpu:
        words = [str(gpu.get("name", "a GPU"))]
        words += [f"compute capability {gpu['capability']}"] if gpu.get("capability") else []
        words += [f"{gpu['multiprocessors']} multiprocessors"] if gpu.get("multiprocessors") else []
        words += [f"{gpu['l2_bytes'] / _MIB:g} MiB of L2"] if gpu.get("l2_bytes") else []
        return (", ".join(words),)
    if cpu:
        threads = cpu.get("torch_threads")
        shared = f", PyTorch uses {threads} threads" if threads else ""
        return (f"{cpu.get('model', 'a CPU')}, {cpu.get('usable_cores', '?')} cores{shared}",)
    return ()


def _budget(facts: Mapping[str, Value]) -> tuple[str, ...]:
    lines = []
    if "registers" in facts:
        lines.append(f"{facts['registers']} registers of a multiprocessor, at most 255 of a thread; none may spill")
    if "smem_bytes" in facts:
        lines.append(f"{facts['smem_bytes']} bytes of shared memory of a block")
    if "cores" in facts and "smem_bytes" not in facts:
        lines.append(f"{facts['cores']} cores with vectors of {facts.get('simd', '?')} bits")
    return tuple(lines)


def _libraries(environment: Mapping[str, Any]) -> tuple[str, ...]:
    packages = environment.get("packages", {})
    found = [f"{name} {packages[name]}" for name in ("torch", "triton") if name in packages]
    return tuple(found + ([f"CUDA {environment['cuda_runtime']}"] if environment.get("cuda_runtime") else []))
