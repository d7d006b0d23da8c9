"""`kgate smoke`: in some ten seconds, does this machine build, check, time, and tell what it must?

Each step is a call as `kbench` makes them, whose right verdict is known.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.build.verbs.command import empty_cache
from pytest_kgate.device.open import device_argument
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import KgateError
from pytest_kgate.report import format as text
from pytest_kgate.report.rows import number
from pytest_kgate.report.text.render import say

if TYPE_CHECKING:
    from pytest_kgate.build.kernel import Kernel
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.report.record.record import Record

_KERNELS = {"host": "host", "cuda": "custom_v3"}
"""By kind of device, the shipped kernel that is built soonest."""

_SIZES = {"host": 64, "cuda": 2048}
"""Rows of the matrices that are multiplied: on a GPU so many that a launch does not count."""

_BUDGET_SECONDS = 8.0
"""Of each race: four times what one takes on a machine that does nothing else."""

_BOUND = 0.8
"""Far from both ratios, 1 and 0.5, so that a noisy machine tells them, too."""

_OFF = 0.25
"""What the wrong kernel adds to a single element of its answer."""


@dataclass(frozen=True)
class Step:
    """One question to this machine, and its answer."""

    name: str
    """`a right answer`."""
    fine: bool
    """Whether the answer is the known one."""
    told: str
    """What was measured, or what is wrong."""
    seconds: float
    """Of the step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.description = (
        "Build a shipped kernel, find it right and a broken one wrong, race a kernel against itself, which must not "
        "pass, and against twice its work, which must. The exit status is 1 where any of that goes wrong."
    )
    parser.add_argument(
        "--device", type=device_argument, default="auto", metavar="auto|cuda:N|host", help="default: %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """Take all steps and print a line for each; 1 where one is not as it must be."""
    device = open_device(options.device)
    start = time.perf_counter()
    fine = True
    for step in steps(device):
        fine = fine and step.fine
        head = f"{'OK' if step.fine else 'WRONG':<7}{step.name:<24}{step.seconds:5.1f} s  "
        say(step.told, " " * len(head), first=head)
    took = f"in {time.perf_counter() - start:.1f} s"
    if fine:
        print(f"this machine works as it should on {device.torch_device}, {took}")
    else:
        say(f"this machine does not work as it should, {took}; `kgate system show` may say why")
    return 0 if fine else 1


def steps(device: Device) -> Iterator[Step]:
    """The steps one after the other; the races need no kernel but PyTorch's, and are run without one, too."""
    made: list[Kernel] = []
    yield step("build", lambda: _build(device, made))
    if made:
        yield step("a right answer", lambda: held_to("PASS", _checked(device, made[0])))
        yield step("a wrong answer", lambda: held_to("WRONG", _checked(device, _off(made[0]))))
    yield step("a kernel and itself", lambda: held_to("FAIL", _raced(device, times=1)))
    yield step("half the work", lambda: held_to("PASS", _raced(device, times=2)))


def step(name: str, take: Callable[[], tuple[bool, str]]) -> Step:
    """Take a step, which tells whether all is well, and what it saw; an error that a user can act on is no crash."""
    start = time.perf_counter()
    try:
        fine, told = take()
    except KgateError as error:
        fine, told = False, f"{error.what} {error.todo}"
    return Step(name, fine, told, time.perf_counter() - start)


def held_to(wanted: str, record: Record) -> tuple[bool, str]:
    """Whether the verdict is the one that is right, and what was measured; else also what came instead."""
    seen = _seen(record)
    if record["verdict"] == wanted:
        return True, f"{wanted}, as it must be{seen and ': '}{seen}"
    reason = record["reason"] or "all demands were met"
    return False, f"{record['verdict']}, and must be {wanted}: {reason.rstrip('.')}{seen and '; '}{seen}"


def _seen(record: Record) -> str:
    """The ratio with its interval and the reference's latency; nothing where there was no race."""
    timing, gates = record.get("timing"), record["gates"]
    ratio = gates[0]["ratio"] if gates else None
    if ratio is None or timing is None:
        return ""
    low, middle, high = (number(ratio[name]) for name in ("low", "estimate", "high"))
    latency = text.seconds(number(timing["reference"]["median_seconds"]))
    return f"ratio {text.ratio(middle)} {text.interval(low, high)} of {latency}"


def _build(device: Device, made: list[Kernel]) -> tuple[bool, str]:
    """Build the kernel anew, whatever is in the cache."""
    from pytest_kgate.build import library
    from pytest_kgate.build.kernel import load_kernel

    library.binding()  # what all kernels share is built once, and kept
    with empty_cache():
        kernel = load_kernel(_KERNELS[device.kind])
    made.append(kernel)
    return True, f"kernel {kernel.name}, by {kernel.build.compiler}"


def _off(kernel: Kernel) -> Callable[..., Any]:
    """The kernel with a single element of its answer wrong."""

    def off_in_one_element(*inputs: Any) -> Any:
        answer = kernel(*inputs)
        answer[..., -1, -1] += _OFF
        return answer

    return off_in_one_element


def _checked(device: Device, candidate: Callable[..., Any]) -> Record:
    from pytest_kgate.problems.attention.problem import sdpa_problem
    from pytest_kgate.problems.shape import Shape

    dtype = "float32" if device.kind == "host" else "float16"
    return _call(device, candidate, sdpa_problem(Shape(1, 2, 256, 64), dtype), until="check")


def _raced(device: Device, times: int) -> Record:
    """Race one product of matrices against `times` of them."""
    import torch

    from pytest_kgate.problems.problem import Problem

    size = _SIZES[device.kind]
    dtype = torch.float32 if device.kind == "host" else torch.float16

    def inputs(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        extents = (size, size)
        return tuple(torch.randn(extents, generator=generator, device=generator.device, dtype=dtype) for _ in range(2))

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b

    def products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        for _ in range(times):
            answer = a @ b
        return answer

    problem = Problem(f"{times} x matmul {size}", inputs, products, exact=lambda a, b: a.double() @ b.double())
    return _call(device, product, problem, until="time")


def _call(device: Device, candidate: Callable[..., Any], problem: Problem, until: str) -> Record:
    import torch

    from pytest_kgate.bench import call
    from pytest_kgate.bench.race.reference import ReferencePicker
    from pytest_kgate.bench.request import Request
    from pytest_kgate.bench.request import Settings
    from pytest_kgate.statistics.gates import SpeedGate

    speed = (SpeedGate(_BOUND),) if until == "time" else ()
    settings = Settings(budget=_BUDGET_SECONDS, until=until, clean="off")
    request = Request("smoke", 0, candidate, problem, speed, None, settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is asked is whether the gate tells, not whether this machine has cores to spare
    try:
        return call.run(request, device, ReferencePicker(), {}, _say, waiting=_say).record
    finally:
        torch.set_num_threads(threads)


def _say(what: str) -> None:
    print(f"kgate: {what}", file=sys.stderr)
