"""One run of ninja: the steps of many recipes, as many at once as there are cores."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.build import cache
from pytest_kgate.build import toolchain
from pytest_kgate.build.recipe import Recipe

_RULE = """rule step
  command = cd $stage && { $run > $log 2>&1 || { echo $$? > $status; exit 1; }; }"""
_LOG = re.compile(r"(?P<start>\d+)\t(?P<end>\d+)\t[^\t]*\t(?P<output>[^\t]*)\t[^\t]*")


@dataclass(frozen=True)
class Outcome:
    """What became of one recipe."""

    seconds: float | None
    """From the start of its first step to the end of its last; None if a step failed."""

    log: str
    """What its compilers printed: of all its steps, or only of the first that failed."""

    status: int
    """With which that step ended; 0 where none failed."""


def run(recipes: Sequence[Recipe], stages: Sequence[Path]) -> list[Outcome]:
    """Make each recipe's library in its stage, an existing directory. What one fails takes nothing from the others."""
    home = stages[0]
    lines = [_RULE]
    for recipe, stage in zip(recipes, stages, strict=True):
        for step in recipe.steps:
            inputs = [recipe.source, *(stage / name for name in step.inputs)]
            lines += [
                f"build {_path(stage / step.output)}: step {' '.join(map(_path, inputs))}",
                f"  stage = {_shell(shlex.quote(str(stage)))}",
                f"  run = {_shell(step.command)}",
                f"  log = {shlex.quote(step.output)}.log",
                f"  status = {shlex.quote(step.output)}.status",
            ]
    with cache.explained():
        (home / "build.ninja").write_text("\n".join([*lines, ""]), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    ran = subprocess.run(
        [toolchain.ninja(), "-C", home, "-k", "0", "--quiet"],
        env=environment | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    times = _times(home / ".ninja_log")
    for scrap in ("build.ninja", ".ninja_log", ".ninja_deps"):
        (home / scrap).unlink(missing_ok=True)
    return [_outcome(recipe, stage, times, ran.stdout) for recipe, stage in zip(recipes, stages, strict=True)]


def _outcome(recipe: Recipe, stage: Path, times: dict[str, tuple[float, float]], complaint: str) -> Outcome:
    steps = [(step, times.get(str(stage / step.output))) for step in recipe.steps]
    done = [time for _, time in steps if time is not None]
    if len(done) == len(steps):
        for step in recipe.steps[:-1]:
            (stage / step.output).unlink()
        log = "".join(_read(stage / f"{step.output}.log") for step in recipe.steps)
        return Outcome(max(end for _, end in done) - min(start for start, _ in done), log, 0)
    for step, time in steps:
        status = stage / f"{step.output}.status"
        if time is None and status.is_file():
            return Outcome(None, _read(stage / f"{step.output}.log"), int(status.read_text()))
    return Outcome(None, complaint, 0)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _times(ninja_log: Path) -> dict[str, tuple[float, float]]:
    """From ninja's own log, start and end of each output that was made, in seconds."""
    if not ninja_log.is_file():
        return {}
    rows = map(_LOG.fullmatch, ninja_log.read_text(encoding="utf-8").splitlines())
    return {row["output"]: (int(row["start"]) / 1000, int(row["end"]) / 1000) for row in rows if row}


def _path(path: Path) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))


def _shell(text: str) -> str:
    return text.replace("$", "$$")
