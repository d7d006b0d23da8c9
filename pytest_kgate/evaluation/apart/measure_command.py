"""`kgate measure`: the latency of one kernel or of PyTorch's SDPA by itself, for pipelines that measure apart."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.evaluation.apart.measurement import load
from pytest_kgate.evaluation.apart.measurement import save
from pytest_kgate.system.child_process import environment_of_start
from pytest_kgate.system.folders.scratch import scratch
from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from pytest_kgate.evaluation.apart.measurement import Measurement

_BACKENDS = ("fastest", "flash", "cudnn", "efficient", "math", "flex")

_ITERATIONS = 960
"""As many samples as a race takes of each arm: 96 rounds of ten."""

_WARM_UP = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "candidate", nargs="?", metavar="CANDIDATE", help="mine.cu, mine.py:function or package.module:function"
    )
    parser.add_argument("--impl", metavar="NAME", help="a shipped kernel, of those that `kgate impls` lists")
    parser.add_argument("--sdpa", metavar="BACKEND", help=f"PyTorch's SDPA: {', '.join(_BACKENDS)}")
    parser.add_argument("--shape", action="append", metavar="SHAPE", help="default: 1x8x512x64; may be repeated")
    parser.add_argument("--shapes", metavar="NAME|FILE", help="a grid of shapes, such as canonical or grid.toml")
    parser.add_argument("--dtype", help="default: float16 on a GPU, float32 on the host")
    parser.add_argument("--device", metavar="auto|cuda|cuda:N|host", help="default: auto")
    parser.add_argument("--timer", help="auto, graph, queue, eager or wall; default: auto")
    parser.add_argument("--cache", metavar="hot|cold", help="default: hot")
    parser.add_argument(
        "--warmup", type=int, default=_WARM_UP, metavar="N", help=f"samples thrown away first; default: {_WARM_UP}"
    )
    parser.add_argument(
        "--iters", type=int, default=_ITERATIONS, metavar="N", help=f"samples kept; default: {_ITERATIONS}"
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="measure in so many fresh processes; default: 1"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show hardware counters, too, as `kgate profile` does of a test"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what `kgate gate` reads")


def run(options: argparse.Namespace) -> int:
    """Measure and print. What can't be measured, a wrong answer too, is raised."""
    check(options)
    require_torch()
    from pytest_kgate.evaluation.apart.printed import lines  # NumPy and PyTorch, that --help does without

    found: list[Measurement] = []
    for one in _in_processes(options) if options.processes > 1 else _here(options):
        print("\n".join(lines(one)), flush=True)
        found.append(one)
    if options.json is not None:
        save(options.json, found)
    if options.profile:
        from pytest_kgate.evaluation.apart.profiled import profile

        return profile(options, [one.problem for one in found])
    return 0


def check(options: argparse.Namespace) -> None:
    """Raise `UsageError` for arguments that make no sense, before anything is built."""
    given = [one for one in (options.candidate, options.impl, options.sdpa) if one is not None]
    if len(given) != 1:
        raise UsageError(
            f"kgate measure takes one kernel, and was given {len(given) or 'none'}.",
            "Name one of --impl NAME, --sdpa BACKEND or a candidate, such as mine.cu or mine.py:function.",
        )
    if options.sdpa is not None and options.sdpa not in _BACKENDS:
        raise UsageError(
            f"There is no SDPA backend {options.sdpa!r}.{hint(options.sdpa, _BACKENDS)}",
            f"Use one of {', '.join(_BACKENDS)}.",
        )
    if options.profile and options.sdpa is not None:
        raise UsageError(
            "--profile cannot go with --sdpa: a reference's counters are shown beside a kernel's.",
            "Use it with --impl or a candidate.",
        )
    for name, least in (("warmup", 0), ("iters", 1), ("processes", 1)):
        if getattr(options, name) < least:
            raise UsageError(f"--{name} cannot be {getattr(options, name)}.", f"It takes a number from {least}.")
    if options.json is not None and options.json.is_dir():
        raise UsageError(f"{options.json} is a folder.", "Name a file for --json, such as sdpa.json.")


def _here(options: argparse.Namespace) -> Iterable[Measurement]:
    from pytest_kgate.evaluation.apart.subject import measure_all

    return measure_all(options)


def _in_processes(options: argparse.Namespace) -> list[Measurement]:
    """Each process measures all shapes, by this verb itself; what lasts as long as a process is then drawn anew."""
    found: list[list[Measurement]] = []
    with scratch("measure") as folder:
        for number in range(1, options.processes + 1):
            file = Path(folder) / f"{number}.json"
            command = [sys.executable, "-m", "pytest_kgate.cli", "measure", *_arguments(options), f"--json={file}"]
            child = subprocess.run(
                command,
                env=environment_of_start(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            if child.returncode:
                said = child.stderr.strip().removeprefix("kgate: ") or f"It ended with status {child.returncode}."
                raise KgateError(f"Process {number} of {options.processes} could not measure. {said}", "")
            found.append(load(file))
    first, *others = found
    return [one.with_runs_of([each[place] for each in others]) for place, one in enumerate(first)]


def _arguments(options: argparse.Namespace) -> Sequence[str]:
    """What a process is asked for."""
    names = ("impl", "sdpa", "shapes", "dtype", "device", "timer", "cache", "warmup", "iters")
    given = [f"--{name}={value}" for name in names if (value := getattr(options, name)) is not None]
    shapes = [f"--shape={shape}" for shape in options.shape or ()]
    return [*given, *shapes, *([options.candidate] if options.candidate is not None else [])]
