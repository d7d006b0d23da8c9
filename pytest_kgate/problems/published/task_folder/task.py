"""A task folder of gpu-mode/reference-kernels: what its task.yml says, and the modules that belong to it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.checked import Checked
from pytest_kgate.problems.published.checked import text_of
from pytest_kgate.problems.published.modules import Modules
from pytest_kgate.problems.trees.foreign import class_and_text

SUBMISSION = "custom_kernel"
"""What a submission defines."""

_FUNCTIONS = ("generate_input", "ref_kernel", "check_implementation")
"""What reference.py defines."""

_LISTS = ("tests", "benchmarks")
"""The lists of cases in task.yml."""

_KNOWN = (
    *("files", "lang", "description", "config", "templates", "tests", "benchmarks", "test_timeout", "ranking_by"),
    *("benchmark_timeout", "ranked_timeout", "gpus", "multi_gpu", "milestones", "seed", "profile_timeout", "name"),
)

_WHAT = "task of reference-kernels"

_HANDED_IN = "@SUBMISSION@"
"""In the list of files, what stands for the submission's own."""


@dataclass(frozen=True)
class Task:
    """A folder's task, and one of its cases."""

    folder: Path
    case: str
    """`benchmarks:0`, or `given` where its arguments were."""
    arguments: Mapping[str, Any]
    """Of `generate_input`, the seed aside."""
    seeded: bool
    """Whether `generate_input` takes a seed."""
    generate_input: Callable[..., Any]
    ref_kernel: Callable[..., Any]
    check_implementation: Callable[..., Any]
    modules: Modules
    """What the folder's files import by bare names, such as `utils` and `task`."""
    sha256: str
    """Of reference.py."""

    @classmethod
    def read(cls, folder: Path, case: str | Mapping[str, Any]) -> Task:
        """Import its reference.py; raises `UsageError` in a sentence where the folder is no task, or lacks the case."""
        path = folder / "task.yml"
        said = Checked(_document(path), str(path), _WHAT)
        _demand_known(said)
        language = said.optional("lang", str, "py")
        if language != "py":
            raise said.wrong(f'its lang is "{language}"', "Tasks in Python (py) can be judged.")
        modules = Modules(_files(said, folder))
        reference = _imported(modules, folder)
        functions = [getattr(reference, name) for name in _FUNCTIONS]
        chosen, arguments = _case(said, case)
        known = inspect.signature(functions[0]).parameters
        arguments = {name: value for name, value in arguments.items() if name != "seed"}
        seeded = "seed" in known
        try:
            inspect.signature(functions[0]).bind(**arguments, **({"seed": 0} if seeded else {}))
        except TypeError as error:
            raise said.wrong(
                f"generate_input can't be called with the arguments of {chosen}: {error}",
                f"Its parameters are {', '.join(known)}.",
            ) from None
        digest = hashlib.sha256((folder / "reference.py").read_bytes()).hexdigest()
        return cls(folder, chosen, arguments, seeded, functions[0], functions[1], functions[2], modules, digest)


def _document(path: Path) -> Any:
    text = text_of(path, "Give a folder that has a task.yml in UTF-8.")
    try:
        import yaml  # here, since only task folders need it
    except ImportError:
        raise LibraryMissing(
            f"{path} is read by PyYAML, which is not installed.", "Install it: pip install pyyaml."
        ) from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        twice = _given_twice(root, set())
        if twice is not None:
            raise UsageError(f"{path} gives {twice}, of which YAML would keep the last.", "Keep one of the two.")
        return None if root is None else loader.construct_document(root)
    except RecursionError:
        raise UsageError(f"{path} is no YAML that can be read: it is nested too deeply.", "Mend it.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        said = getattr(error, "problem", None) or "it can't be parsed"
        raise UsageError(f"{path} is no YAML{where}: {said}.", "Mend that line, or the one before.") from None


def _given_twice(node: Any, seen: set[int]) -> str | None:
    """A name that a table of this YAML node has twice, with the line of the second; None where there is none."""
    if not isinstance(getattr(node, "value", None), list) or id(node) in seen:
        return None
    seen.add(id(node))  # aliases share nodes, and can go round in a circle
    names: set[str] = set()
    for one in node.value:
        key, value = one if isinstance(one, tuple) else (None, one)
        if key is not None and isinstance(key.value, str):
            if key.value in names:
                return f"{key.value} twice, again in line {key.start_mark.line + 1}"
            names.add(key.value)
        found = _given_twice(value, seen)
        if found is not None:
            return found
    return None


def _demand_known(said: Checked) -> None:
    said.demand("files")
    if not any(name in said.data for name in _LISTS):
        raise said.wrong("it has neither tests nor benchmarks", _meant(said, "benchmarks"))
    strangers = [str(name) for name in said.data if name not in _KNOWN]
    for name in strangers:
        meant = _close(name)
        if meant:
            raise said.wrong(f"it has {name}, which no task has", f"Did you mean {meant}?")


def _meant(said: Checked, wanted: str) -> str:
    name = next((str(one) for one in said.data if _close(str(one)) in _LISTS), None)
    return f"Did you mean {wanted} by {name}?" if name else "Such a list holds the arguments of generate_input."


def _close(name: str) -> str | None:
    import difflib  # here, since few need it

    found = difflib.get_close_matches(name, [one for one in _KNOWN if one != name], n=1, cutoff=0.8)
    return found[0] if found else None


def _files(said: Checked, folder: Path) -> dict[str, Path]:
    """The files that task.yml puts beside the submission, by the names that they are imported by."""
    found = {}
    for entry in said.optional("files", list, []):
        one = Checked(entry, f"A file of {said.where}", _WHAT)
        name, source = one.text("name"), one.text("source")
        if source == _HANDED_IN or not name.endswith(".py"):
            continue
        path = (folder / source).resolve()
        if not path.is_file() and name != "eval.py":
            raise said.wrong(
                f"there is no file {source}, which its files name", "Fetch the whole repository: tasks share files."
            )
        found[Path(name).stem] = path
    found.setdefault("reference", folder / "reference.py")
    return found


def _imported(modules: Modules, folder: Path) -> Any:
    path = folder / "reference.py"
    try:
        reference = modules.module("reference")
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {error.filename}.", "Fetch the whole repository.") from None
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{path} can't be imported: {class_and_text(error)}.",
            "Install what it needs, or correct it.",
        ) from error
    missing = [name for name in _FUNCTIONS if not callable(getattr(reference, name, None))]
    if missing:
        raise UsageError(
            f"{path} is no {_WHAT}: it does not define {', '.join(missing)}.",
            f"Such a file has the functions {', '.join(_FUNCTIONS)}.",
        )
    return reference


def _case(said: Checked, case: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(case, Mapping):
        return "given", dict(case)
    kind, _, place = case.partition(":")
    listed = {name: said.optional(name, list, []) for name in _LISTS}
    if kind not in _LISTS or not place.isdecimal():
        raise UsageError(
            f'There is no case "{case}".', 'Write "tests:0" or "benchmarks:2": a list of task.yml, and a place from 0.'
        )
    if int(place) >= len(listed[kind]):
        raise UsageError(
            f"{said.where} has no case {case}: there are {len(listed[kind])} {kind}.",
            "Places are counted from 0."
            + (' Its tests begin with "tests:0".' if kind == "benchmarks" and listed["tests"] else ""),
        )
    return case, dict(Checked(listed[kind][int(place)], f"{case} of {said.where}", _WHAT).data)
