"""What is kept of a sweep's facts: one short line a trial, sorted.

    python benchmarks/kernelbench/kept.py SWEEP.jsonl [SWEEP.jsonl ...] --json benchmarks/h100/kernelbench-DATE.jsonl

The last line of a trial counts; what earlier ones came to is kept in `earlier`. Sizes must be those published.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trial import PARTS
from trial import WRONG

Trial = dict[str, Any]

RIGHT_GATES = {"1.05": "PASS", "0.95": "FAIL"}
"""Of a copy, which is as fast as its model."""

_REASON = 160
"""Characters of a reason that are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="SWEEP", help="as sweep.py writes it; oldest first")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="what is committed")
    options = parser.parse_args()
    trials = [trial for path in options.files for trial in _read(path)]
    for trial in trials:
        if trial["scale"]:
            raise SystemExit(f"{trial['problem']} has not the sizes that are published: leave such sweeps out.")
    kept = latest(kept_of(trial) for trial in trials)
    options.json.write_text("".join(json.dumps(trial) + "\n" for trial in kept))


def is_as_wanted(trial: Trial) -> bool:
    """Whether there is nothing to explain: a copy judged right, a wrong candidate found, torch.compile judged."""
    if trial["part"] == "copy":
        return trial.get("gates") == RIGHT_GATES and trial["outcome"] == "FAIL"
    return trial["outcome"] in (("WRONG",) if trial["part"] in WRONG else ("PASS", "FAIL"))


def kept_of(trial: Trial) -> Trial:
    """The facts that tables need, in a fixed order."""
    ratio, file = trial.get("ratio"), trial.get("kernelbench") or {}
    exact = file.get("exact")
    facts = {
        **{name: trial.get(name) for name in ("problem", "part", "outcome")},
        "gates": trial.get("gates"),
        "ratio": ratio and [round(ratio[name], 4) for name in ("low", "estimate", "high")],
        "weak": trial.get("weak"),
        "reason": None if is_as_wanted(trial) else _shortened(trial["reason"]),
        **{name: trial.get(name) for name in ("seconds", "peak_bytes", "device", "torch", "at", "earlier")},
        "exact": exact if exact != "float64" else None,
        "sha256": file.get("sha256") if trial["part"] == "copy" else None,
    }
    return {name: fact for name, fact in facts.items() if fact not in (None, [])}


def latest(trials: Iterable[Trial]) -> list[Trial]:
    """The last of each device, problem and part, sorted by them."""
    found: dict[tuple[Any, ...], Trial] = {}
    for trial in trials:
        key = (trial["device"], *_place(trial["problem"]), PARTS.index(trial["part"]))
        before = found.get(key)
        earlier = [*before.get("earlier", []), before["outcome"]] if before else []
        found[key] = {**trial, "earlier": earlier} if earlier else trial
    return [found[key] for key in sorted(found)]


def _place(problem: str) -> tuple[str, int]:
    """Level and number of `level1/19_ReLU`."""
    level, _, name = problem.partition("/")
    return level, int(name.partition("_")[0])


def _read(path: Path) -> list[Trial]:
    """A sweep's lines, each with the name of the device; one whose process died has that of the line beside it."""
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    device = next((name for one in trials if (name := one.get("gpu") or one.get("cpu"))), None)
    if device is None:
        raise SystemExit(f"{path} does not say on which device it was made.")
    for trial in trials:
        device = trial["device"] = trial.get("gpu") or trial.get("cpu") or device
    return trials


def _shortened(reason: str) -> str:
    """The first sentence, without folders of the machine."""
    sentence = re.split(r"(?<=[.!?])\s", re.sub(r"(?<![\w.])(/[\w.+-]+)+/", "", reason), maxsplit=1)[0]
    return sentence if len(sentence) <= _REASON else f"{sentence[: _REASON - 3]}..."


if __name__ == "__main__":
    main()
