"""One problem of KernelBench through the gate: a line of JSON in, a line of facts out; started by sweep.py."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

PARTS = ("copy", "weight", "activation", "compile")
"""The candidate: the model's copy, it with one wrong weight, without its first activation, and it compiled."""

WRONG = ("weight", "activation")
"""The parts whose candidates should be found wrong, unless what is wrong with them never shows in the answer."""

BOUNDS = (1.05, 0.95)


def main(folder: str, device: str, budget: str) -> None:
    """Answer trials until there are no more; what a problem prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from pytest_kgate.device.open import open_device
    from pytest_kgate.system.provenance.environment import session_environment

    opened = open_device(device)
    environment = session_environment(Path.cwd())
    for line in sys.stdin:
        trial = json.loads(line)
        found = _facts(Path(folder), trial, opened, environment, float(budget))
        answers.write(json.dumps({**trial, **found}) + "\n")


def _facts(folder: Path, trial: dict[str, Any], device: Any, environment: Any, budget: float) -> dict[str, Any]:
    import torch

    from pytest_kgate.report.record.values import now

    _clean(device)
    start = time.perf_counter()
    try:
        found = _judged(folder, trial, device, environment, budget)
    except Skipped as reason:
        found = {"outcome": "NONE", "reason": str(reason)}
    except Exception as error:  # of the harness too: a sweep goes on
        from pytest_kgate.errors import KgateError

        refused = isinstance(error, KgateError)
        memory = isinstance(error, torch.OutOfMemoryError)
        outcome = "REFUSED" if refused else "MEMORY" if memory else "TRACEBACK"
        found = {"outcome": outcome, "reason": f"{'' if refused else type(error).__name__ + ': '}{str(error)[:400]}"}
        if outcome == "TRACEBACK":
            found["frames"] = _frames(error)
    found["seconds"] = round(time.perf_counter() - start, 2)
    if device.kind == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
        found["gpu"] = torch.cuda.get_device_name()
    else:
        found["peak_bytes"] = _peak_of_the_process()
        found["cpu"] = device.environment()["cpu"]["model"]
    found["torch"] = torch.__version__
    found["at"] = now()
    return found


def _judged(folder: Path, trial: dict[str, Any], device: Any, environment: Any, budget: float) -> dict[str, Any]:
    import torch
    from candidates import candidate_of
    from scaled import scaled

    from pytest_kgate import Problem
    from pytest_kgate.bench import call
    from pytest_kgate.bench.race.reference import ReferencePicker
    from pytest_kgate.bench.request import Request
    from pytest_kgate.bench.request import Settings
    from pytest_kgate.statistics.gates import SpeedGate

    place = torch.device(device.torch_device)
    with scaled(folder / f"{trial['problem']}.py", trial["scale"], place) as (file, sizes):
        problem = Problem.from_kernelbench(file, name=trial["problem"])
        candidate = candidate_of(problem.published, trial["part"], place)
        if trial["part"] in ("activation", "compile"):  # skipped, or compiled, before anything else is in memory
            with torch.no_grad():
                candidate(*problem.inputs(torch.Generator(place).manual_seed(0)))
        request = Request(
            test=f"{trial['problem']}[{trial['part']}]",
            call=0,
            candidate=candidate,
            problem=problem,
            speed=tuple(SpeedGate(bound) for bound in BOUNDS),
            error=None,
            settings=Settings(budget=budget, timeout=300.0, foreign_load="warn"),
        )
        record = call.run(request, device, ReferencePicker(), environment, _stuck).record
        timer = "eager" if "--kgate-timer eager" in record["reason"] else "auto"
        if timer != "auto":  # as the message says
            request = replace(request, settings=replace(request.settings, timer=timer))
            record = call.run(request, device, ReferencePicker(), environment, _stuck).record
        unseen = ""
        if trial["part"] in WRONG and record["verdict"] != "WRONG":
            off = (record["correctness"] or {}).get("reference_error", 0.0)
            gc.collect()  # what the race leaves in cycles would lie beside all that is drawn now
            unseen = _unseen(problem, candidate, place, off)  # raises `Skipped` where nothing can be left out
    timing, correctness = record["timing"], record["correctness"]
    found: dict[str, Any] = {
        "outcome": unseen or record["verdict"],
        "timer": timer,
        "reason": record["reason"][:400],
        "kernelbench": record["problem"].get("kernelbench"),
        "weights": record["candidate"].get("weights"),
        "sizes": sizes,
        "warnings": record["warnings"],
        "seconds_by_purpose": {name: round(one, 3) for name, one in (record.get("seconds") or {}).items()},
    }
    if correctness:
        found["weak"] = correctness["weak"]
        found["failed"] = correctness["failed"]
        found["reference_error"] = correctness["reference_error"]
    if timing:
        found["gates"] = {str(one["bound"]): one["verdict"] for one in record["gates"]}
        found["ratio"] = timing["ratio"]
        found["seconds_reference"] = timing["reference"]["median_seconds"]
        found["rounds"], found["race_seconds"] = timing["rounds"], round(timing["seconds_spent"], 2)
    return found


def _unseen(problem: Any, candidate: Any, place: Any, reference_error: float) -> str:
    """Why nobody could tell that the candidate is wrong: HARMLESS where it answers as the model does to the last bit (a
    maximum may not see the wrong element), BELOW where it is off by less than the model's own error; empty otherwise.
    """
    import torch

    generator = torch.Generator(place).manual_seed(0)
    with torch.no_grad():
        draws = (problem.inputs, problem.hard_inputs) * 3
        most = max(_apart(candidate, problem.reference, draw(generator)) for draw in draws)
    return "HARMLESS" if most == 0 else "BELOW" if most <= reference_error else ""


def _apart(candidate: Any, reference: Any, inputs: tuple[Any, ...]) -> float:
    """The largest difference of two answers to the same inputs, in float64 a slab at a time."""
    from pytest_kgate.bench.correctness.comparison.slabs import slabs
    from pytest_kgate.problems.trees import tree

    pairs = zip(tree.tensors(candidate(*inputs)), tree.tensors(reference(*inputs)), strict=True)
    differences = (
        float((one[slab.index].double() - other[slab.index].double()).abs().max())
        for one, other in pairs
        for slab in (slabs(one.shape, one.device) if one.numel() else ())
    )
    return max(differences, default=0.0)


class Skipped(Exception):
    """The problem has no such candidate; why."""


def _clean(device: Any) -> None:
    gc.collect()
    if device.kind == "cuda":
        import torch

        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew


def _peak_of_the_process() -> int:
    """Bytes of memory that it has held at most since `_clean`, PyTorch's own quarter of a GB among them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _frames(error: Exception) -> list[str]:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(one.filename).name}:{one.lineno} {one.line}" for one in frames]


def _stuck(complaint: str) -> None:
    print(complaint, file=sys.stderr, flush=True)
    os._exit(3)


if __name__ == "__main__":
    sys.modules["trial"] = sys.modules["__main__"]
    main(*sys.argv[1:])
