"""Candidates that are given by name: a function of a Python file or module, or a source file of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn

from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import find_source
from pytest_kgate.build.registry import is_source
from pytest_kgate.device.arm import ends
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.process.build_named import build_named
from pytest_kgate.integrity.isolation.process.judge.kept_out import keep_out
from pytest_kgate.integrity.isolation.process.judge.kept_out import keep_out_module
from pytest_kgate.problems.trees.foreign import class_and_text

if TYPE_CHECKING:
    from pytest_kgate.evaluation.options.options import Options
    from pytest_kgate.problems.problem import Problem


@dataclass(frozen=True)
class Unusable:
    """A named candidate that can't be called: it does not compile, or can't be imported."""

    name: str
    """The candidate's, in tables."""
    error: BuildError | CandidateError
    """Why not."""

    def __call__(self, *_inputs: object, **_params: object) -> NoReturn:
        raise self.error


def candidate_named(
    text: str, problem: Problem, options: Options, folders: tuple[Path, ...], device_kind: str
) -> Callable[..., Any]:
    """The candidate of `file.py:function`, `package.module:function`, `kernel.cu` or, for published problems, `new.py`.

    Files are looked for in these folders. Where it is to be isolated, nothing of it is loaded in this process. A source
    that does not compile and a module that can't be imported give an `Unusable` one, which is judged as an error.
    Raises `UsageError` where there is no such file, `DeviceMissing` where a kernel needs a GPU and there is none, and
    as `load_kernel` does where a compiler or library is missing.
    """
    isolated = options.isolate or options.selftest
    if is_source(text):
        return _kernel(text, options, folders, device_kind)
    if text.endswith((".py", ".json")) and problem.published is not None:
        text = f"{text}:{problem.published.entry}"
    found = replace(CandidateFunction.parse(text, folders), problem=problem.published)
    if isolated:
        (keep_out if found.of_file else keep_out_module)(found.where)
        return found
    try:
        return found.load()
    except CandidateError as error:
        return Unusable(found.name, error)
    except KgateError:
        raise
    except BaseException as error:  # what is raised to skip a test, too, and what a module's `__getattr__` raises
        if ends(error):
            raise
        told = CandidateError(
            f"{found.where} can't be imported: {class_and_text(error)}.", "Correct what it does when it is imported."
        )
        told.__cause__ = error
        return Unusable(found.name, told)


def _kernel(text: str, options: Options, folders: tuple[Path, ...], device_kind: str) -> Callable[..., Any]:
    path = next((folder / text for folder in folders if (folder / text).is_file()), None)
    if path is None:
        raise UsageError(f"There is no file {text} to take the candidate from.", "Check the candidate's path.")
    source = find_source(path, trusted=not options.isolate)
    if source.device_kind == "cuda" and device_kind != "cuda":
        raise DeviceMissing(
            f"{text} needs a CUDA device, and there is none here, or it is not the one that was asked for.",
            "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.",
        )
    knobs: dict[str, Any] = dict(options.knob)  # a build refuses what is no integer
    try:
        if options.isolate:
            return build_named(path, knobs, arch=options.arch, debug=options.debug, timeout_seconds=options.timeout)
        return load_kernel(path, knobs, arch=options.arch, debug=options.debug)
    except BuildError as error:
        return Unusable(source.name, error)
