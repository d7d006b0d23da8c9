"""What `kgate measure` was asked to measure: the callable, the problems, the device."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import find_source
from pytest_kgate.build.registry import is_source
from pytest_kgate.device.open import assigned
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.evaluation.apart.measuring import measure
from pytest_kgate.evaluation.candidates import Unusable
from pytest_kgate.evaluation.candidates import candidate_named
from pytest_kgate.evaluation.evaluate import evaluate
from pytest_kgate.evaluation.judge import judge
from pytest_kgate.evaluation.options.override import from_environment
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.evaluation.options.parse import grid
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.grids.named import chosen_grid
from pytest_kgate.problems.grids.shape_text import parse_shape
from pytest_kgate.problems.trees.foreign import name_of
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.evaluation.options.options import Options
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.shape import Shape

_OPTIONS = ("device", "timer", "cache", "arch", "timeout")

_USUAL = "1x8x512x64"


def measure_all(options: argparse.Namespace) -> Iterator[Measurement]:
    """Measure each shape in its turn; raises `CandidateError` where an answer is wrong, before anything is timed."""
    own = override(
        from_environment(_OPTIONS),
        "kgate measure",
        allowed=_OPTIONS,
        **{name: value for name in ("device", "timer", "cache") if (value := getattr(options, name)) is not None},
    )
    shapes = shapes_of(options)
    device = _device(options, own)
    dtype = options.dtype or ("float32" if device.torch_device == "cpu" else "float16")
    for shape in shapes:
        problem = sdpa_problem(shape, dtype, backend=options.sdpa)
        name, function, checked = _subject(options, own, problem, device)
        lease = device.environment().get("gpu", {}).get("uuid", device.kind)
        with leased(lease, own.timeout, None):
            yield measure(
                name,
                function,
                problem,
                device,
                timer=own.timer,
                cache=own.cache,
                samples=options.iters,
                warmup=options.warmup,
                checked=checked,
            )


def shapes_of(options: argparse.Namespace) -> tuple[Shape, ...]:
    """The shapes that were asked for, each once; raises `UsageError`."""
    shapes = [parse_shape(text) for text in options.shape or ()]
    if options.shapes is not None:
        shapes += chosen_grid(grid(options.shapes), "--shapes")
    return tuple(dict.fromkeys(shapes or [parse_shape(_USUAL)]))


def _device(options: argparse.Namespace, own: Options) -> Device:
    """The one that was asked for; the host for a kernel of the host."""
    spec = assigned(own.device)
    source = options.impl or options.candidate
    if options.impl is not None or (source is not None and is_source(source)):
        kind = find_source(source).device_kind
        if kind == "cuda" and not spec.startswith("cuda"):
            raise DeviceMissing(
                f"{source} needs a CUDA device, and there is none here, or it is not the one that was asked for.",
                "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.",
            )
        spec = "host" if kind == "host" else spec
    return open_device(spec, timeout_seconds=own.timeout)


def _subject(
    options: argparse.Namespace, own: Options, problem: Problem, device: Device
) -> tuple[str, Callable[..., Any], bool]:
    """Name, callable, and whether its answers were found right."""
    if options.sdpa is not None:
        picked = judge().picker.pick(problem, device, own.timer, own.cache)
        assert isinstance(problem.reference, Mapping)
        assert picked.backend is not None
        return f"sdpa {picked.backend}", problem.reference[picked.backend], False
    candidate: Callable[..., Any]
    if options.impl is not None:
        candidate = load_kernel(options.impl, arch=own.arch)
    else:
        candidate = candidate_named(options.candidate, problem, replace(own, isolate=False), (Path.cwd(),), device.kind)
    name = options.impl or name_of(candidate)
    if isinstance(candidate, Unusable):
        raise candidate.error
    found = evaluate(candidate, problem, None, device=device)
    if not VERDICTS[found["verdict"]].passes:
        raise CandidateError(
            f"{name} was not timed: {found['verdict']} on {problem.name}: {found['reason'].rstrip('.')}.",
            "Mend its answers first; a test with kbench says where they are wrong.",
        )
    return name, candidate, True
