"""How far off right and wrong candidates for KernelBench's problems are, over the reference; one line a problem.

    python benchmarks/kernelbench/error_ratios.py FOLDER --json FILE [--part 0/4] [--every 2] [--seconds 150]

FOLDER is that of sweep.py. Of each candidate and each draw of the check: the largest error, the rms error and the worst
row over what the checks compare them with, and the worst slice, such as a channel or a column, over what TF32 comes to
there. What has a line is not measured again. A part takes every so many of the problems, for several GPUs.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from candidates import candidate_of
from honest import tf32
from honest import variants
from scaled import scaled
from sweep import problems_of
from trial import WRONG
from trial import Skipped

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.exact.tf32_yardstick import Tf32Yardstick
from pytest_kgate.bench.correctness.problem_calls import reference_answer
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.open import open_device

_SEED = 1

_FIRST = 0.6
"""Of a problem's time, for the first draw, in which PyTorch chooses its kernels: the second is a hard one."""

_ALWAYS = ("copy", *WRONG, "tf32 everywhere", "cut everywhere")
"""Shown each draw, also where time is over, or the model does nothing in TF32."""


def main() -> None:
    options = _options()
    device = open_device(options.device)
    lines = options.json.read_text().splitlines() if options.json.exists() else []
    done = {(one["problem"], one["compiled"]) for one in map(json.loads, lines)}
    end = time.monotonic() + options.seconds
    number, parts = map(int, options.part.split("/"))
    names = list(problems_of(options.folder, options.level, options.match, options.every))[number::parts]
    single = [name for name in names if name.startswith("level1")]  # of one operator: what they say is known soonest
    quick = [name for name in names if name.startswith("level2")][: options.compiled]
    trials = [(name, False) for name in names if name not in single]
    trials += [*((name, True) for name in quick), *((name, False) for name in single)]
    with options.json.open("a") as file:
        for name, compiled in trials:
            if (name, compiled) in done or time.monotonic() > end:
                continue
            file.write(json.dumps({"problem": name, "compiled": compiled, "began": True}) + "\n")
            file.flush()  # one whose process dies is not begun again
            found = _facts(name, compiled, options, device)
            file.write(json.dumps(found) + "\n")
            file.flush()
            print(_line(found), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th problem from the I-th on")
    parser.add_argument("--level", default="3,2,1", metavar="N[,N...]")
    parser.add_argument("--match", default="", metavar="REGEX", help="only problems whose file name has it")
    parser.add_argument("--every", type=int, default=2, metavar="N", help="only every N-th problem of a level")
    parser.add_argument("--scale", type=int, default=0, metavar="N", help="sizes at most about N; 0: as published")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--box", type=float, default=2.0, metavar="SECONDS", help="of a problem, once it is warm")
    parser.add_argument("--compiled", type=int, default=3, metavar="N", help="problems of level 2 for torch.compile")
    parser.add_argument("--seconds", type=float, default=150.0, help="begin no problem after so many")
    return parser.parse_args()


def _facts(name: str, compiled: bool, options: argparse.Namespace, device: Any) -> dict[str, Any]:
    start = time.perf_counter()
    found: dict[str, Any] = {"problem": name, "compiled": compiled}
    place = torch.device(device.torch_device)
    try:
        with scaled(options.folder / f"{name}.py", options.scale, place) as (file, _):
            found.update(_measured(Problem.from_kernelbench(file, name=name), compiled, device, options.box))
    except Exception as error:  # of whatever a published file does: the others go on
        found["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
    gc.collect()
    if device.kind == "cuda":
        torch.cuda.empty_cache()
        found["gpu"] = torch.cuda.get_device_name()
    return {**found, "torch": torch.__version__, "seconds": round(time.perf_counter() - start, 2)}


def _measured(problem: Any, compiled: bool, device: Any, box: float) -> dict[str, Any]:
    """What is measured of a problem's candidates, draw by draw, until its time is over; two draws at least."""
    place = torch.device(device.torch_device)
    reference = bind("reference", problem.reference, problem.params, problem.mutates)
    candidates = _candidates(problem, compiled, place)
    draws: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    without_tf32, start = False, 0.0
    yardstick = Tf32Yardstick()
    with tf32(convolutions=True, products=False):  # as PyTorch has it
        like = reference_output(device, problem, reference)
        for kind, seed in draws_of(_SEED):
            if len(draws) > 1 and time.perf_counter() - start > box:
                break
            inputs = workload_of(problem, device, like, hard=kind == "hard").draw(seed)
            truth = truth_of(problem, reference, inputs, like)
            start = start if draws else time.perf_counter()  # before that, models are made and kernels are chosen
            yardstick.hold(truth, functools.partial(reference_answer, problem, reference, inputs, like))
            draw = _Draw(truth)
            for name, candidate in candidates.items():
                late = time.perf_counter() - start > (box if draws else _FIRST * box)
                if name in left_out or ((late or without_tf32) and name not in _ALWAYS):
                    continue
                try:
                    draw.show(name, candidate(*inputs))
                except (Skipped, RuntimeError, AssertionError) as reason:  # out of memory is a RuntimeError
                    left_out[name] = f"{type(reason).__name__}: {str(reason)[:100]}"
                    gc.collect()
                without_tf32 = without_tf32 or (name == "float32" and draw.found.get(name, {}).get("same", False))
            draws.append({"kind": kind, "outputs": draw.sizes, "candidates": draw.found})
            del inputs, truth, draw
    return {"exact": problem.published.exact.dtype, "draws": draws, "left_out": left_out}


def _candidates(problem: Any, compiled: bool, place: torch.device) -> dict[str, Callable[..., Any]]:
    published = problem.published
    honest = variants(published, place)
    if compiled:
        return {"compile": candidate_of(published, "compile", place)}
    found = {"float32": honest.pop("float32")}
    found["copy"] = candidate_of(published, "copy", place)
    for part in WRONG:
        found[part] = candidate_of(published, part, place)
    return found | honest


class _Draw:
    """The exact answer to one draw, with the reference's, and what is found of candidates beside these."""

    def __init__(self, truth: Any) -> None:
        self._reference = truth.reference
        self._whole = truth
        self._truth = {name: one for name, one, _ in truth.each(None)}
        self.found: dict[str, dict[str, Any]] = {}
        self.sizes = {
            name: {
                "shape": list(one.shape),
                "rms": _short(one.rms),
                "reference_rms": _short(one.reference_rms_error),
                "reference_max": _short(one.reference_error),
            }
            for name, one in self._truth.items()
        }

    def show(self, name: str, answer: Any) -> None:
        """Measure one candidate's answer."""
        outputs = outputs_of(answer)
        self.found[name] = {"same": self._whole.same(answer, self._reference)}
        for output, truth in self._truth.items():
            if truth.arithmetic.inexact and truth.baseline:  # beside an exact reference nothing is a ratio
                self.found[name][output] = _of_output(truth, outputs[output])


def _of_output(truth: Any, answer: Any) -> dict[str, Any]:
    limits = truth.limits(None)
    compared = truth.compare(answer, limits)
    found = {
        "max": _short(limits.factor * compared.error / limits.atol),
        "rms": _short(compared.rms_error / truth.baseline),
        "rows": _short(compared.row_excess * 8 * limits.factor),
        "failed": compared.failed,
    }
    if compared.worst_slice is not None:
        found["slice"] = {key: _short(value) for key, value in compared.worst_slice.to_dict().items()}
    return found


def _short(number: float) -> float | int | None:
    if isinstance(number, int):
        return number
    return float(f"{number:.4g}") if math.isfinite(number) else None


def _line(found: dict[str, Any]) -> str:
    """The largest ratios of each candidate."""
    told: dict[str, tuple[float, float, float]] = {}
    for draw in found.get("draws", []):
        for name, outputs in draw["candidates"].items():
            facts = [one for key, one in outputs.items() if key != "same"]
            now = (
                max((one["max"] or math.inf for one in facts), default=0.0),
                max((one["rms"] or math.inf for one in facts), default=0.0),
                max((one["slice"]["times"] or 0.0 for one in facts if "slice" in one), default=0.0),
            )
            told[name] = tuple(map(max, told.get(name, (0.0, 0.0, 0.0)), now))  # type: ignore[assignment]
    words = "; ".join(f"{name} {a:.2g} {b:.2g} {c:.2g}" for name, (a, b, c) in told.items())
    return f"{found['problem']} {found['seconds']} s {found.get('failed', '')} {words}"


if __name__ == "__main__":
    sys.modules["error_ratios"] = sys.modules["__main__"]
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")
    main()
