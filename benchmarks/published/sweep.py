"""Published problems of flashinfer-bench and reference-kernels through the gate, with solutions of ours; resumable.

    python benchmarks/published/sweep.py FOLDER --json facts.jsonl [--device host] [--seconds 520] [--match REGEX]

FOLDER holds `flashinfer_trace` of github.com/flashinfer-ai/flashinfer-bench (definitions and workloads; they are in its
commit 6780d265) and `reference-kernels` (github.com/gpu-mode/reference-kernels). Neither is part of this project. What
has a line in the file of facts is not run again, unless --again names its verdict. Each trial is a process.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trials import JUDGED
from trials import SOLUTIONS

BOUND = 1.05
"""Of right solutions: a solution that is no slower passes it."""

FINISHED_BY = 5.0
"""Seconds before the end at which no further trial begins."""


def main() -> None:
    options = _options()
    known = {_key(one): one for one in _read(options.json)}
    again = set(options.again.split(","))
    end = time.monotonic() + options.seconds
    for trial in _trials(options):
        if _key(trial) in known and known[_key(trial)]["verdict"] not in again:
            continue
        if time.monotonic() > end - FINISHED_BY:
            break
        found = {**trial, **_run(trial, options)}
        with options.json.open("a") as file:
            file.write(json.dumps(found) + "\n")
        ratio = found.get("ratio") or ["", "", ""]
        what = f"{trial['problem'][:48]:48} {trial['candidate']:18} {found['verdict']:12} {ratio[1]}"
        print(f"{what} {found['reason'][:90]}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="one line of facts for each trial")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--budget", type=float, default=5.0, metavar="SECONDS", help="of a race")
    parser.add_argument("--match", default="", metavar="REGEX", help="only problems whose name has it")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="of a trial")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no trial after so many")
    parser.add_argument("--again", default="", metavar="VERDICT[,VERDICT...]", help="run trials with these again")
    parser.add_argument("--one", metavar="TRIAL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_judged(json.loads(options.one), options)))
        raise SystemExit
    options.json.parent.mkdir(parents=True, exist_ok=True)
    return options


def _trials(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    on_host = options.device == "host"
    for one in JUDGED:
        if not re.search(options.match, one.problem):
            continue
        for wanted, names in (("PASS", one.right), ("WRONG", one.wrong)):
            for name in names:
                yield {
                    "set": one.set,
                    "problem": one.problem,
                    "case": one.host if on_host else one.gpu,
                    "file": one.file,
                    "candidate": name,
                    "wanted": wanted,
                    "made": one.recorded,
                    "asked": "host" if on_host else "gpu",
                }


def _key(one: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in ("problem", "case", "candidate", "asked"))


def _read(path: Path) -> list[dict[str, Any]]:
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def _run(trial: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The facts of a trial, which a process of its own judges."""
    command = [sys.executable, __file__, str(options.folder), "--device", options.device]
    command += ["--budget", f"{options.budget:g}", "--one", json.dumps(trial)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {"verdict": "DIED", "reason": f"no answer within {options.limit:g} s"}
    lines = child.stdout.splitlines()
    if child.returncode or not lines:
        said = child.stderr.strip().splitlines()[-1:] or [f"status {child.returncode}"]
        return {"verdict": "DIED", "reason": said[0][:200]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _judged(trial: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from pytest_kgate import Problem
    from pytest_kgate import evaluate
    from pytest_kgate.errors import KgateError

    start = time.perf_counter()
    try:
        if trial["set"] == "flashinfer-bench":
            root = options.folder / "flashinfer_trace"
            definition = root / "definitions" / f"{trial['problem']}.json"
            workloads = root / "workloads" / f"{trial['problem']}.jsonl"
            if trial["made"]:
                _make_recorded(root, definition, workloads, trial["case"])
            problem = Problem.from_flashinfer_bench(definition, workloads, trial["case"])
        else:
            folder = options.folder / "reference-kernels" / "problems" / trial["problem"]
            problem = Problem.from_task_folder(folder, trial["case"])
        for timer in ("auto", "eager"):
            record = evaluate(
                f"{SOLUTIONS / trial['file']}:{trial['candidate']}",
                problem,
                speedup=BOUND,
                device=options.device,
                budget=options.budget,
                timer=timer,
                foreign_load="warn",
                weak="allow",
            )
            if "--kgate-timer eager" not in record["reason"]:  # a call that waits for the GPU can't be queued
                break
    except KgateError as error:
        return {"verdict": "REFUSED", "reason": str(error.what)}
    facts = record["problem"].get("flashinfer_bench") or record["problem"]["task_folder"]
    ratio = record["gates"][0]["ratio"] if record["gates"] else None
    weak = (record["correctness"] or {}).get("weak") or []
    return {
        "verdict": record["verdict"],
        "name": problem.name,
        "ratio": None if ratio is None else [round(ratio[name], 4) for name in ("low", "estimate", "high")],
        "bound": BOUND,
        "timer": timer,
        "reason": record["reason"],
        "exact": facts["exact"],
        "check": facts.get("check"),
        "weak": weak,
        "device": torch.cuda.get_device_name() if options.device != "host" else _processor(record),
        "torch": torch.__version__,
        "threads": torch.get_num_threads() if options.device == "host" else None,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _processor(record: Any) -> str:
    found = record["environment"].get("cpu") or {}
    return str(found.get("model") or "host")


def _make_recorded(root: Path, definition: Path, workloads: Path, case: str) -> None:
    """Write the recorded inputs that the public repository lacks: one sequence, its pages in order."""
    import torch
    from safetensors.torch import save_file

    axes = {name: one.get("value") for name, one in json.loads(definition.read_text())["axes"].items()}
    for line in workloads.read_text().splitlines():
        inner = json.loads(line)["workload"]
        if not inner["uuid"].startswith(case):
            continue
        axes |= inner["axes"]
        assert axes["len_indptr"] == 2, "one sequence"
        made = {
            "kv_indptr": torch.tensor([0, axes.get("num_kv_indices", axes.get("total_kv"))], dtype=torch.int32),
            "qo_indptr": torch.tensor([0, axes.get("total_q", 0)], dtype=torch.int32),
            "kv_indices": torch.arange(axes.get("num_kv_indices", 0), dtype=torch.int32),
        }
        for source in inner["inputs"].values():
            if source["type"] == "safetensors" and not (root / source["path"]).exists():
                path = root / source["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file(made, path)


if __name__ == "__main__":
    main()
