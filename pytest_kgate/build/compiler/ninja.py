"""From a source to a kernel library: one ninja run for all that is not in the cache yet."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kgate.build import includes
from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler import ptxas
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.compiler.confined import Confined
from pytest_kgate.build.compiler.recipe import Recipe
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.report.format import no_commands
from pytest_kgate.report.format import visible

_LOG = "compiler.log"
_STATUS = "compiler.status"
_MOST_LOG = 2**20
"""Characters of the compiler's words that are kept."""
_ERROR = re.compile(r"^.*\b(?:fatal )?error\b.*$|^nvcc fatal.*$|^.*undefined reference.*$", re.MULTILINE)
_REFUSALS = (
    re.compile(r'static assertion failed with "(.+)"'),  # nvcc
    re.compile(r"static assertion failed(?: due to requirement '.{0,2000}?')?: (.+)"),  # g++, clang++ >= 16
    re.compile(r"""static_assert failed(?: due to requirement '.{0,2000}?')? "(.+)\""""),  # clang++ < 16
    re.compile(r"error: #error (?:directive: )?(.+)"),
)
"""The end of a requirement is looked for so far and no further: a source may have a line of 1 MiB said."""


_failures: dict[tuple[cache.Key, Confined | None], BuildError] = {}
"""What a source is refused that is not trusted, another with the same text may do."""
_shown: set[cache.Key] = set()


@dataclass(frozen=True)
class BuildResult:
    """A library in the cache, and how it came to be."""

    path: Path
    source_hash: str
    """Hex SHA-256 of the source and the headers of ours that it includes."""

    flags: tuple[str, ...]
    """All that shaped the code, knobs included; without paths."""

    arch: str
    """`sm_90a`; of a host library the machine, `x86_64`."""

    resources: tuple[ptxas.Resources, ...]
    """One per CUDA kernel and template instance; empty for a host library."""

    seconds: float
    """What compiling took when it was compiled."""

    cached: bool
    """Whether it was there already."""

    compiler: str
    """`nvcc 13.0.88`."""

    command: str
    """The shell command that compiles it; writes to the current directory."""


def build_of(candidate: object) -> BuildResult | None:
    """What a candidate that was built here is built from; None of any other callable."""
    return attribute(candidate, "build", BuildResult)


def build(wanted: Recipe) -> BuildResult:
    """The library, from the cache or compiled. Raises `BuildError` with the compiler's whole output."""
    return checked(wanted, build_many([wanted])[0])


def checked(wanted: Recipe, outcome: BuildResult | BuildError) -> BuildResult:
    """Raise an outcome that is an error: whole the first time, and only its headline each time after.

    A source that does not compile is compiled once a process; fifty tests of it are not fifty screens of output.
    """
    if isinstance(outcome, BuildResult):
        return outcome
    if wanted.key not in _shown:
        _shown.add(wanted.key)
        raise outcome
    headline = outcome.what.partition("\n")[0]
    raise BuildError(f"{headline} (The first failure of this build shows the whole output.)", outcome.todo)


def build_many(recipes: Sequence[Recipe]) -> list[BuildResult | BuildError]:
    """All the libraries, those that are missing compiled at once on all cores.

    A source that does not compile takes nothing from the others: its place in the list holds the error. Sources that
    are not trusted are compiled one by one, since each is confined to its own files.
    """
    found = {recipe.key: _cached(recipe) for recipe in recipes}
    missing = {recipe.key: recipe for recipe in recipes if found[recipe.key] is None}
    if missing:
        with cache.locked(missing):
            # Another process may have built some while this one waited.
            found |= {key: _cached(recipe) for key, recipe in missing.items()}
            still = [recipe for key, recipe in missing.items() if found[key] is None]
            found |= _compile([recipe for recipe in still if recipe.confined is None])
            for recipe in still:
                found |= _compile([recipe] if recipe.confined is not None else [])
    return [outcome for recipe in recipes if (outcome := found[recipe.key]) is not None]


def _cached(recipe: Recipe) -> BuildResult | BuildError | None:
    entry = cache.lookup(recipe.key)
    if entry is None:
        return _failures.get((recipe.key, recipe.confined))
    try:
        # With this source's own path: that of which it was compiled, in another folder, may be gone.
        return replace(_result(entry, cached=True), command=recipe.command)
    except (KeyError, TypeError):
        return None


def _result(entry: cache.Entry, *, cached: bool) -> BuildResult:
    facts = dict(entry.facts)
    resources = tuple(ptxas.Resources.from_dict(data) for data in facts.pop("resources"))
    flags = tuple(facts.pop("flags"))
    return BuildResult(path=entry.path, flags=flags, resources=resources, cached=cached, **facts)


def _compile(recipes: Sequence[Recipe]) -> dict[cache.Key, BuildResult | BuildError]:
    """Run ninja on recipes whose locks are held; publish what compiled."""
    outcomes: dict[cache.Key, BuildResult | BuildError] = {}
    if not recipes:
        return outcomes
    with ExitStack() as stack:
        stages = [stack.enter_context(cache.staging(recipe.key)) for recipe in recipes]
        seconds, complaint = _run_ninja(recipes, stages)
        for recipe, stage in zip(recipes, stages, strict=True):
            log = stage / _LOG
            text = _log_text(log) if log.is_file() else complaint
            took = seconds.get(str(stage / recipe.output))
            if took is None:
                status = stage / _STATUS
                if status.is_file() and (code := int(status.read_text())) > 125:
                    text += f"{recipe.compiler.name} ended with status {code}: it could not start, or it was killed\n"
                text = no_commands(visible(text, lines=True))  # a source has it say what it likes (#pragma message)
                refused = recipe.confined.refusal(recipe.title, text, complaint) if recipe.confined else None
                failure = refused or _explain(recipe, text)
                outcomes[recipe.key] = _failures[recipe.key, recipe.confined] = failure
                continue
            if replace(recipe).source_hash != recipe.source_hash:
                raise KgateError(
                    f"{recipe.source} or a header of it changed while it was being compiled.", "Run again."
                )
            entry = cache.publish(recipe.key, stage, recipe.output, _facts(recipe, text, took))
            outcomes[recipe.key] = _result(entry, cached=False)
    return outcomes


def _facts(recipe: Recipe, log: str, seconds: float) -> dict[str, Any]:
    return {
        "source_hash": recipe.source_hash,
        "flags": list(recipe.flags),
        "arch": recipe.arch,
        "resources": [resources.to_dict() for resources in ptxas.parse(log)],
        "seconds": seconds,
        "compiler": recipe.compiler.name,
        "command": recipe.command,
    }


def _run_ninja(recipes: Sequence[Recipe], stages: Sequence[Path]) -> tuple[dict[str, float], str]:
    """Compile each recipe in its stage. Returns the seconds of each output made, and ninja's words."""
    home = stages[0]
    lines = [
        "rule compile",
        "  command = cd $stage && { $run > $log 2>&1 || { echo $$? > $status; exit 1; }; }",
    ]
    for recipe, stage in zip(recipes, stages, strict=True):
        lines += [
            f"build {_path(stage / recipe.output)}: compile {_path(recipe.source)}",
            f"  stage = {_shell(shlex.quote(str(stage)))}",
            f"  run = {_shell(recipe.command)}",
            f"  log = {_LOG}",
            f"  status = {_STATUS}",
        ]
    with cache.explained():
        (home / "build.ninja").write_text("\n".join([*lines, ""]), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"} | {"LC_ALL": "C"}
    command = [str(toolchain.ninja()), "-C", str(home), "-k", "0", "--quiet"]
    if (how := recipes[0].confined) is not None:
        own, _ = includes.own_files(recipes[0].source, recipes[0].include)
        readable = [*own, *recipes[0].include, *toolchain.folders(recipes[0].compiler)]
        command, environment = how.command(command, readable, home)
    ran = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = _seconds(home / ".ninja_log")
    for scrap in ("build.ninja", ".ninja_log", ".ninja_deps"):
        (home / scrap).unlink(missing_ok=True)
    return seconds, ran.stdout


def _seconds(ninja_log: Path) -> dict[str, float]:
    """Ninja's own log: start and end in milliseconds, time stamp, output, hash; one line for each success."""
    if not ninja_log.is_file():
        return {}
    rows = [line.split("\t") for line in ninja_log.read_text(encoding="utf-8").splitlines()]
    return {row[3]: (int(row[1]) - int(row[0])) / 1000 for row in rows if len(row) == 5}


def _log_text(log: Path) -> str:
    """What the compiler said; of more than can be shown, the beginning."""
    with log.open(encoding="utf-8", errors="replace") as file:
        said = file.read(_MOST_LOG)
        return said if len(said) < _MOST_LOG else f"{said}\n... (more than {_MOST_LOG} characters)"


def _path(path: Path) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))


def _shell(text: str) -> str:
    return text.replace("$", "$$")


def _explain(recipe: Recipe, log: str) -> BuildError:
    if "No space left on device" in log:
        with cache.explained():
            raise OSError(28, "No space left on device")
    refusals = [match[1].strip().strip('"') for pattern in _REFUSALS for match in pattern.finditer(log)]
    refused = " ".join(dict.fromkeys(refusals))
    first = _ERROR.search(log)
    last = log.strip().rpartition("\n")[2] or "the compiler failed without a message."
    why = refused or (first[0].strip() if first else last)
    return BuildError(
        f"{recipe.title} does not compile: {why}\n\n$ {recipe.command}\n{log.rstrip()}\n", _what_to_do(why, refused)
    )


def _what_to_do(why: str, refused: str) -> str:
    if "gpu architecture" in why.lower():
        return (
            "Give --kgate-arch one of those that `nvcc --list-gpu-arch` names, or install a CUDA that knows this GPU."
        )
    if re.search(r"\bsm_\d", refused):
        return "Give another --kgate-arch, or take a kernel that runs on this GPU."
    return "Choose other knobs; the source says which it takes." if refused else "Correct the source."
