"""The two programs of docs/evaluate.md at work: a search of 20 evaluations, and a loop over ten problems.

A stub stands in place of the model: it changes a program at random, and keeps a change that scored higher.

    python benchmarks/evaluate/search.py benchmarks/host/evaluate-DATE.json

writes what came of each evaluation: its change, verdict and score, and how long it took, and on which machine.
"""

from __future__ import annotations

import json
import os
import platform
import random
import runpy
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pytest_kgate.device.open import open_device
from pytest_kgate.report.record.values import now

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support")]

from documented import JUDGE  # noqa: E402
from documented import OPENEVOLVE  # noqa: E402
from documented import program  # noqa: E402
from documented import write_problems  # noqa: E402

EVALUATIONS = 20
SEED = 7

FIRST = """import torch

def candidate(x):
    y = x + 0
    y = torch.abs(y) + y
    y = y * 1
    y = y / 2
    return y + 0
"""

CHANGES = {
    "drop a line": lambda lines, lot: lines.pop(lot.randrange(3, len(lines) - 1)) if len(lines) > 5 else None,
    "call relu": lambda lines, lot: lines.__setitem__(slice(3, None), ["    return torch.relu(x)"]),
    "forget a colon": lambda lines, lot: lines.__setitem__(2, "def candidate(x)"),
    "call what there is not": lambda lines, lot: lines.insert(3, "    x = torch.nothing(x)"),
    "loop forever": lambda lines, lot: lines.insert(3, "    while True: pass"),
    "do more": lambda lines, lot: lines.insert(3, "    x = x + 0"),
}


def search(folder: Path) -> list[dict[str, Any]]:
    """A line for each evaluation."""
    (folder / "openevolve").mkdir()
    (folder / "openevolve" / "evaluation_result.py").write_text(OPENEVOLVE)
    (folder / "test_mine.py").write_text(JUDGE)
    (folder / "evaluator.py").write_text(program("openevolve_evaluator.py"))
    sys.path.insert(0, str(folder))
    evaluate = runpy.run_path(str(folder / "evaluator.py"))["evaluate"]
    lot, best, best_score, told = random.Random(SEED), FIRST, 0.0, []
    for number in range(EVALUATIONS):
        change = "none" if number == 0 else lot.choice(list(CHANGES))
        lines = best.splitlines()
        if number:
            CHANGES[change](lines, lot)
        path = folder / f"program{number}.py"
        path.write_text("\n".join(lines) + "\n")
        start = time.monotonic()
        found = evaluate(str(path))
        score = found.metrics["combined_score"]
        line = {"change": change, **found.metrics, "seconds": round(time.monotonic() - start, 1)}
        told.append({**line, "feedback": _without(folder, found.artifacts["feedback"]).splitlines()[:2]})
        print(json.dumps(told[-1]), flush=True)
        if score > best_score:
            best, best_score = path.read_text(), score
    return told


def loop(folder: Path) -> list[str]:
    """What the loop over problems prints."""
    write_problems(folder)
    (folder / "loop.py").write_text(program("kernelbench_loop.py"))
    command = [sys.executable, "loop.py", "problems", "solutions"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return _without(folder, done.stdout).splitlines()


def _without(folder: Path, text: str) -> str:
    """Files by their names: the folder is made anew in each run."""
    return text.replace(f"{folder}/", "")


def _setting() -> dict[str, Any]:
    """Which machine, and which versions of what it runs."""
    cpu = open_device("host").environment()["cpu"]
    return {
        "cpu": cpu["model"],
        "cores": cpu["usable_cores"],
        "load_average": cpu["load_average"],
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytest": version("pytest"),
        "pytest-kgate": version("pytest-kgate"),
    }


def main(file: str) -> None:
    """Run both, and write the file."""
    os.environ.update(KGATE_DEVICE="host", KGATE_TIMEOUT="10")
    out = Path(file).resolve()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        told = {
            "created": now(),
            "setting": _setting(),
            "isolated": os.environ.get("KGATE_ISOLATE", "0"),
            "search": search(Path(name)),
        }
        os.environ["KGATE_BUDGET"] = "2"
        told["loop"] = loop(Path(name))
        os.chdir("/")
    out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
