"""The tables of docs/kernelbench.md, from kept facts.

    python benchmarks/kernelbench/table.py benchmarks/{h200,h100,host}/kernelbench-*.jsonl [--into docs/kernelbench.md]

Of several files, the last line of each device, problem and part counts. Where there are several GPUs, a column has them
together: of each problem and part the latest run, on whichever it was.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from kept import RIGHT_GATES
from kept import Trial
from kept import is_as_wanted
from kept import latest
from trial import PARTS
from trial import WRONG

from pytest_kgate.bench.correctness.comparison.findings import IDLE
from pytest_kgate.report.page.markdown import grid
from pytest_kgate.report.page.markdown import write_block

BLOCK = "kernelbench"

_RANDOM = "changes from call to call"
"""In the reason of an error: a model whose answer to the same inputs is another each time can't be checked."""

_CANDIDATES = {
    "copy": "copy",
    "weight": "wrong weight",
    "activation": "skipped activation",
    "compile": "torch.compile",
}
_NOTHING_TO_FIND = {
    "NONE": "none",
    "HARMLESS": "harmless",
    "BELOW": "below error",
}
_TOGETHER = "GPUs together"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="as kept.py writes it; oldest first")
    parser.add_argument("--into", type=Path, metavar="PAGE", help=f"write the block {BLOCK} of this page")
    options = parser.parse_args()
    tables = tables_of(read(options.files), together(options.files))
    if options.into:
        write_block(options.into, BLOCK, tables)
    else:
        print(tables, end="")


def read(files: Iterable[Path]) -> list[Trial]:
    """The trials of kept files, given oldest first."""
    return latest(_lines(files))


def together(files: Iterable[Path]) -> list[Trial]:
    """Of each problem and part the latest run on any GPU: by the time that it says, or else in the order of files."""
    on_gpus = [trial for trial in _lines(files) if _is_gpu(trial["device"])]
    found: dict[tuple[str, str], Trial] = {}
    for trial in sorted(on_gpus, key=lambda one: one.get("at", "")):
        key = trial["problem"], trial["part"]
        earlier = [*found[key].get("earlier", []), found[key]["outcome"]] if key in found else []
        found[key] = {**trial, "earlier": [*earlier, *trial.get("earlier", [])]} if earlier else trial
    return list(found.values())


def _is_gpu(device: str) -> bool:
    return device.startswith("NVIDIA")


def _lines(files: Iterable[Path]) -> list[Trial]:
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def tables_of(trials: list[Trial], on_any_gpu: Sequence[Trial] = ()) -> str:
    """How all devices did, then each one's problems, and what needs a word."""
    by_device: dict[str, list[Trial]] = {}
    for trial in trials:
        by_device.setdefault(trial["device"], []).append(trial)
    columns = dict(by_device)
    if on_any_gpu and sum(map(_is_gpu, by_device)) > 1:
        columns[_TOGETHER] = list(on_any_gpu)
    summaries = [summary(own) for own in columns.values()]
    rows = [(row[0][0], *(told for _, told in row)) for row in zip(*summaries, strict=True)]
    parts = [grid(("", *columns), set(columns), rows)]
    if _TOGETHER in columns:
        parts += [f"What the latest run of a trial on a GPU left to be explained, of {len(on_any_gpu)}:\n"]
        parts += [_words([trial for trial in on_any_gpu if trial["outcome"] not in _NOTHING_TO_FIND])]
    for device, own in by_device.items():
        versions = sorted({trial["torch"] for trial in own if "torch" in trial})
        on = f"{device}, PyTorch {' and '.join(versions)}" if versions else device
        parts += [f"### {on}\n", _problems(own), _words(own)]
    return "\n".join(parts)


def summary(trials: list[Trial]) -> list[tuple[str, str]]:
    """Of one device's trials: each line's title, and what it says."""
    parts = {part: [trial for trial in trials if trial["part"] == part] for part in PARTS}
    weak = {trial["problem"] for trial in trials if _idle(trial)}
    warned = {trial["problem"] for trial in trials if trial.get("weak")} - weak
    narrow = {trial["problem"] for trial in trials if "exact" in trial}
    refused = {trial["problem"] for trial in trials if _is_refused(trial)}
    verdicts = Counter(_compiled_verdict(trial) for trial in parts["compile"])
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    gates = [trial for part in ("copy", *WRONG) for trial in parts[part]]
    return [
        ("problems", str(len({trial["problem"] for trial in trials}))),
        ("refused, since the answer is random", str(len(refused))),
        ("exact answer in float32, not float64", str(len(narrow))),
        ("the check is WEAK: no work would pass", str(len(weak))),
        ("the check warns of a wrong answer that would pass", str(len(warned))),
        *_shares("copy: PASS at 1.05 and FAIL at 0.95", parts["copy"], weak),
        *_shares("wrong weight: WRONG", parts["weight"], weak),
        *_shares("skipped activation: WRONG", parts["activation"], weak),
        ("torch.compile at 0.95", f"{len(parts['compile'])}: {told}" if told else "none"),
        ("slowest copy", _largest(parts["copy"], "seconds", 1, "s")),
        ("slowest trial, torch.compile aside", _largest(gates, "seconds", 1, "s")),
        ("largest peak of a copy", _largest(parts["copy"], "peak_bytes", 2**30, "GiB")),
        ("largest peak of a trial", _largest(trials, "peak_bytes", 2**30, "GiB")),
        ("trials that were run again", str(sum("earlier" in trial for trial in trials))),
    ]


def _shares(title: str, trials: list[Trial], weak: Container[str]) -> list[tuple[str, str]]:
    """How many are as wanted, of all with something to find; the same without problems whose check is weak."""
    asked = [one for one in trials if one["outcome"] not in _NOTHING_TO_FIND and not _is_refused(one)]
    strong = [one for one in asked if one["problem"] not in weak]
    return [(title, _share(asked)), ("... where the check is not WEAK", _share(strong))]


def _share(trials: list[Trial]) -> str:
    wanted = sum(map(is_as_wanted, trials))
    return f"{wanted} of {len(trials)} ({100 * wanted / len(trials):.1f} %)" if trials else "none"


def _largest(trials: list[Trial], name: str, unit: float, sign: str) -> str:
    known = [trial[name] / unit for trial in trials if name in trial]
    return f"{max(known):.1f} {sign}" if known else "none"


def _is_refused(trial: Trial) -> bool:
    return _RANDOM in trial.get("reason", "")


def _problems(trials: list[Trial]) -> str:
    """A row a problem."""
    head = ("problem", "1.05", "0.95", "ratio", "wrong weight", "skipped activation", "torch.compile", "GiB", "s")
    by_problem: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        by_problem.setdefault(trial["problem"], {})[trial["part"]] = trial
    rows = (_row(problem, parts) for problem, parts in by_problem.items())
    return grid(head, {"GiB", "s"}, rows, cells_are_markdown=True)


def _row(problem: str, parts: dict[str, Trial]) -> tuple[str, ...]:
    copy = parts.get("copy")
    return (
        f"`{problem}`",
        *(_gate(copy, bound) for bound in RIGHT_GATES),
        "[{0:.3f}, {2:.3f}]".format(*copy["ratio"]) if copy and "ratio" in copy else "",
        *(_found(parts.get(part)) for part in WRONG),
        _compiled(parts.get("compile")),
        f"{copy['peak_bytes'] / 2**30:.1f}" if copy and "peak_bytes" in copy else "",
        f"{copy['seconds']:.1f}" if copy and "seconds" in copy else "",
    )


def _gate(copy: Trial | None, bound: str) -> str:
    if copy is None:
        return ""
    verdict = copy.get("gates", {}).get(bound, copy["outcome"])
    return verdict if verdict == RIGHT_GATES[bound] else f"**{verdict}**"


def _found(trial: Trial | None) -> str:
    if trial is None:
        return ""
    if trial["outcome"] in _NOTHING_TO_FIND:
        return _NOTHING_TO_FIND[trial["outcome"]]
    return trial["outcome"] if is_as_wanted(trial) else f"**{trial['outcome']}**"


def _compiled(trial: Trial | None) -> str:
    if trial is None:
        return ""
    verdict = _compiled_verdict(trial)
    ratio = f" {trial['ratio'][1]:.3f}" if "ratio" in trial else ""
    return f"{verdict}{ratio}" if verdict in ("PASS", "FAIL") else f"**{verdict}**{ratio}"


def _compiled_verdict(trial: Trial) -> str:
    """At 0.95, where it was raced and the check can tell a wrong answer."""
    return str(trial["outcome"] if trial["outcome"] == "WEAK" else trial.get("gates", {}).get("0.95", trial["outcome"]))


def _words(trials: list[Trial]) -> str:
    """What is not as wanted and why, the same of several problems in one row."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for trial in trials:
        if not is_as_wanted(trial):
            key = (_CANDIDATES[trial["part"]], _outcome(trial), _reason(trial))
            told.setdefault(key, []).append(trial["problem"])
    weak = {trial["problem"]: trial for trial in trials if trial.get("weak")}
    for problem, trial in weak.items():
        passing = f"the check would let pass: {', '.join(trial['weak'])}"
        told.setdefault(("any", "WEAK" if _idle(trial) else "a warning", passing), []).append(problem)
    rows = ((*key, _numbers(problems)) for key, problems in told.items())
    return grid(("candidate", "outcome", "why", "problems"), (), rows) if told else ""


def _idle(trial: Trial) -> bool:
    """Whether its check would take no work at all for right: such a gate is WEAK. Of other answers it only warns."""
    return bool(set(trial.get("weak", ())) & set(IDLE))


def _outcome(trial: Trial) -> str:
    """Of a copy whose record FAILs at one bound, as it should, what it came to at the other."""
    if trial["part"] != "copy" or trial["outcome"] != "FAIL":
        return str(trial["outcome"])
    return ", ".join(
        f"{verdict} at {bound}" for bound, verdict in trial["gates"].items() if verdict != RIGHT_GATES[bound]
    )


def _reason(trial: Trial) -> str:
    if trial["outcome"] == "HARMLESS":
        return "answers as the model does, to the last bit"
    if trial["outcome"] == "BELOW":
        return "is off from the model's answer by less than the model is from the exact one"
    if trial["part"] in WRONG and trial["outcome"] in ("PASS", "FAIL", "INCONCLUSIVE", "WEAK"):
        return "not found: the check takes it for right"
    return str(trial["reason"])


def _numbers(problems: list[str]) -> str:
    """`level1/33, 35; level2/83`."""
    levels: dict[str, list[str]] = {}
    for problem in problems:
        level, _, name = problem.partition("/")
        levels.setdefault(level, []).append(name.partition("_")[0])
    return "; ".join(f"{level}/{', '.join(numbers)}" for level, numbers in levels.items())


if __name__ == "__main__":
    main()
